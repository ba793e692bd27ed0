import { Component, html } from "../html.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";

/** Tells how to publish the first reading while there is no device. */
export class EmptyPlant extends Component {
  state = { copied: false };

  async copy(text) {
    await navigator.clipboard.writeText(text);
    this.setState({ copied: true });
  }

  render({ tenant }, { copied }) {
    const command =
      `mosquitto_pub -h ${location.hostname} -p 1883 -u USER -P PASSWORD -q 1 ` +
      `-t iiot/v1/${tenant}/first-device/telemetry -m '{"temperature": 22.5}'`;
    return html`<div class="empty">
      <h2>${t("empty.title")}</h2>
      <p>${t("empty.body")}</p>
      <div class="command">
        <code>${command}</code>
        ${navigator.clipboard &&
        html`<button type="button" onClick=${() => this.copy(command)}>${t(copied ? "empty.copied" : "empty.copy")}</button>`}
      </div>
      <p class="note">${t("empty.note")}</p>
      <p class="waiting"><${Icon} name="connecting" />${t("empty.waiting")}</p>
    </div>`;
  }
}
