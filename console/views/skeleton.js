import { html } from "../html.js";
import { t } from "../i18n/index.js";

const CARDS = 8;

/** The shape of the page while the devices are read. */
export function Skeleton() {
  return html`<div class="skeleton" role="status">
    <span class="visually-hidden">${t("load.busy")}</span>
    ${Array.from({ length: CARDS }, () => html`<div class="cell"><div class="type"></div><div class="card"></div></div>`)}
  </div>`;
}
