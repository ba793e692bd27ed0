import { formatDuration } from "../format.js";
import { html } from "../html.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";

/** The state of the live stream; a change is announced to screen readers. */
export function ConnectionState({ state }) {
  return html`<p class="connection ${state}" role="status"><${Icon} name=${state} />${t(`connection.${state}`)}</p>`;
}

/** Stands above the devices while what they show is not live. */
export function Banner({ feed }) {
  if (feed.state === "down") {
    const age = formatDuration(Date.now() - feed.downSince);
    return html`<div class="banner">
      <${Icon} name="warning" />
      <p><strong>${t("connection.lost", { age })}</strong> ${feed.refusal} ${t("connection.frozen")}</p>
      <button type="button" onClick=${() => feed.retry()}>${t("connection.retry")}</button>
    </div>`;
  }
  if (feed.failure !== null) {
    return html`<div class="banner">
      <${Icon} name="warning" />
      <p><strong>${t("load.failed")}</strong> ${feed.failure} ${t("load.retrying")}</p>
    </div>`;
  }
  return null;
}
