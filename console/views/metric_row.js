import { formatAge, formatMoment, formatValue, readable } from "../format.js";
import { Component, createRef, html } from "../html.js";
import { t } from "../i18n/index.js";
import { Icon } from "./icon.js";
import { HEIGHT, WIDTH, sparklinePath } from "./sparkline.js";

// Units that say nothing beside a value: on and off, and the dimensionless 1.
const WITHOUT_A_WORD = new Set(["bool", "1"]);

/**
 * One metric of a device. It is rendered once; readings are painted into it directly, and only where
 * the text differs from what stands there.
 */
export class MetricRow extends Component {
  row = createRef();
  flag = createRef();
  value = createRef();
  age = createRef();
  path = createRef();
  #painted = {};

  shouldComponentUpdate({ unit }) {
    return unit !== this.props.unit;
  }

  componentDidMount() {
    this.props.rows.set(this.props.series, this);
  }

  componentWillUnmount() {
    this.props.rows.delete(this.props.series);
  }

  /** Show the newest reading. */
  paint(now) {
    const { series } = this.props;
    this.#text("value", formatValue(series.value, series.unit, series.decimals));
    this.paintAge(now);
  }

  /** Show what changes with time alone: age and staleness. */
  paintAge(now) {
    const { series } = this.props;
    const known = series.observedAt !== null;
    this.#text("age", known ? formatAge(now - series.observedAt) : "");
    const flags = [];
    if (known && series.quality !== "good") flags.push(series.quality);
    if (series.isStale(now)) flags.push("stale");
    const className = flags.join(" ");
    if (this.#painted.className !== className) {
      this.#painted.className = className;
      this.row.current.className = className;
      this.#text("flag", flags.map((flag) => t(`quality.${flag}`)).join(", "));
    }
  }

  paintTrend(now) {
    const path = sparklinePath(this.props.series, now);
    if (this.#painted.path === path) return;
    this.#painted.path = path;
    this.path.current.setAttribute("d", path);
  }

  #text(place, text) {
    if (this.#painted[place] === text) return;
    this.#painted[place] = text;
    this[place].current.textContent = text;
  }

  /** The exact value and times, for whoever points at the row. */
  explain() {
    const { name, unit, value, observedAt, receivedAt } = this.props.series;
    const lines = [name];
    if (observedAt === null) lines.push(t("metric.none"));
    else lines.push(`${value} ${unit}`.trim(), t("metric.observed", { time: formatMoment(observedAt) }));
    if (receivedAt) lines.push(t("metric.received", { time: formatMoment(receivedAt) }));
    this.row.current.title = lines.join("\n");
  }

  render({ series, unit }) {
    return html`<tr ref=${this.row} onPointerEnter=${() => this.explain()}>
      <th scope="row">
        ${readable(series.name)}${" "}
        <span class="flag"><${Icon} name="warning" /><${Icon} name="clock" /><span ref=${this.flag}></span></span>
      </th>
      <td class="trend">
        <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true"><path ref=${this.path} /></svg>
      </td>
      <td class="value" ref=${this.value}></td>
      <td class="unit">${WITHOUT_A_WORD.has(unit) ? "" : unit}</td>
      <td class="age" ref=${this.age}></td>
    </tr>`;
  }
}
