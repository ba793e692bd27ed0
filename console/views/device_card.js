import { formatDuration } from "../format.js";
import { Component, createRef, html } from "../html.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";
import { MetricRow } from "./metric_row.js";

/** A device with its metrics. Only cards on the screen are painted; `visible` tells which these are. */
export class DeviceCard extends Component {
  card = createRef();
  seen = createRef();
  rows = new Map();

  componentDidMount() {
    this.props.visible.watch(this.card.current, this);
  }

  componentWillUnmount() {
    this.props.visible.unwatch(this.card.current);
  }

  shouldComponentUpdate(next) {
    return next.version !== this.props.version;
  }

  /** Bring everything on the card up to date. */
  paint(now) {
    for (const row of this.rows.values()) row.paint(now);
    this.tick(now);
  }

  /** Show what changes with time alone. */
  tick(now) {
    const { lastSeen } = this.props.device;
    const text = lastSeen === null ? t("device.never_seen") : t("device.last_seen", { age: formatDuration(now - lastSeen) });
    if (this.seen.current.textContent !== text) this.seen.current.textContent = text;
    for (const row of this.rows.values()) {
      row.paintAge(now);
      row.paintTrend(now);
    }
  }

  render({ device }) {
    const series = [...device.series.values()];
    return html`<article class="card ${device.status}" ref=${this.card} aria-label=${device.id}>
      <header>
        <h3>${device.id}</h3>
        <span class="status"><${Icon} name=${device.status} />${t(`status.${device.status}`)}</span>
        <p class="about">${[device.name !== device.id && device.name, device.location].filter(Boolean).join(" · ")}</p>
        <p class="seen" ref=${this.seen}></p>
      </header>
      ${series.length
        ? html`<table>
            <colgroup>
              <col />
              <col class="col-trend" />
              <col class="col-value" />
              <col class="col-unit" />
              <col class="col-age" />
            </colgroup>
            <thead class="visually-hidden">
              <tr>
                <th scope="col">${t("metric.name")}</th>
                <th scope="col">${t("metric.trend")}</th>
                <th scope="col">${t("metric.value")}</th>
                <th scope="col">${t("metric.unit")}</th>
                <th scope="col">${t("metric.age")}</th>
              </tr>
            </thead>
            <tbody>
              ${series.map((item) => html`<${MetricRow} key=${item.name} series=${item} unit=${item.unit} rows=${this.rows} />`)}
            </tbody>
          </table>`
        : html`<p class="no-metrics">${t("device.no_metrics")}</p>`}
    </article>`;
  }
}
