import { formatCount } from "../format.js";
import { html } from "../html.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";

const STATUSES = ["online", "offline", "unknown"];

function figures(devices, now) {
  let values = 0;
  let notGood = 0;
  let stale = 0;
  for (const device of devices) {
    for (const series of device.series.values()) {
      if (series.observedAt === null) continue;
      values += 1;
      if (series.quality !== "good") notGood += 1;
      if (series.isStale(now)) stale += 1;
    }
  }
  return { values, notGood, stale };
}

function Figure({ count, label, mark }) {
  return html`<div class=${mark && count ? mark : ""}><dd>${formatCount(count)}</dd><dt>${label}</dt></div>`;
}

/** Search, filter by status, and the plant in five numbers. */
export function Toolbar({ devices, found, search, status, rate, now, searchBox, onChange }) {
  const count = (wanted) => found.filter((device) => device.status === wanted).length;
  const { values, notGood, stale } = figures(devices, now);
  const choice = (wanted, label, number) => html`<label class="choice">
    <input type="radio" name="status" checked=${status === wanted} onChange=${() => onChange({ status: wanted })} />
    <span>${wanted && html`<${Icon} name=${wanted} />`}${label} <b>${formatCount(number)}</b></span>
  </label>`;
  return html`<div class="toolbar" role="search" aria-label=${t("search.label")}>
    <label class="search">
      <span class="visually-hidden">${t("search.label")}</span>
      <${Icon} name="search" />
      <input
        type="search"
        placeholder=${t("search.placeholder")}
        value=${search}
        ref=${searchBox}
        aria-keyshortcuts="/"
        onInput=${(event) => onChange({ search: event.target.value })}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
    <fieldset class="choices">
      <legend class="visually-hidden">${t("filter.label")}</legend>
      ${choice(null, t("filter.all"), found.length)}
      ${STATUSES.map((name) => choice(name, t(`status.${name}`), count(name)))}
    </fieldset>
    <dl class="figures">
      <${Figure} count=${values} label=${t("figures.values")} />
      <${Figure} count=${rate} label=${t("figures.rate")} />
      <${Figure} count=${notGood} label=${t("figures.not_good")} mark="bad" />
      <${Figure} count=${stale} label=${t("figures.stale")} mark="stale" />
    </dl>
  </div>`;
}
