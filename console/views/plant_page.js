import { Component, createRef, html } from "../html.js";
import { readable } from "../format.js";
import { t } from "../i18n/index.js";
import { Banner, ConnectionState } from "./connection.js";
import { DeviceCard } from "./device_card.js";
import { EmptyPlant } from "./empty_plant.js";
import { Logo } from "./icon.js";
import { Skeleton } from "./skeleton.js";
import { Toolbar } from "./toolbar.js";
import { VisibleCards } from "./visible_cards.js";

const TICK_MS = 1_000;

function groupByType(devices) {
  const groups = new Map();
  for (const device of devices) {
    const group = groups.get(device.type);
    if (group) group.push(device);
    else groups.set(device.type, [device]);
  }
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  const size = (group) => Math.max(...group.map((device) => device.series.size));
  for (const group of groups.values()) group.sort((a, b) => order(a.id, b.id));
  // Devices with the most metrics first: neighbours in the grid are then about equally tall.
  return [...groups].sort(([typeA, a], [typeB, b]) => size(b) - size(a) || order(typeA, typeB));
}

export class PlantPage extends Component {
  state = { search: "", status: null };
  searchBox = createRef();
  cards = new VisibleCards(() => this.props.session.now());

  componentDidMount() {
    const { plant, feed } = this.props;
    plant.onShape = () => this.setState({}, () => this.cards.paintAll());
    plant.onFrame = (changed) => this.cards.paint(changed);
    feed.onChange = () => this.setState({});
    this.timer = setInterval(() => document.hidden || this.tick(), TICK_MS);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("visibilitychange", this.onShown);
  }

  componentWillUnmount() {
    clearInterval(this.timer);
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("visibilitychange", this.onShown);
  }

  onShown = () => {
    if (!document.hidden) this.tick();
  };

  onKey = (event) => {
    const box = this.searchBox.current;
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  };

  tick() {
    this.cards.tick();
    this.setState({});
  }

  render({ plant, feed, session, onSignOut }, { search, status }) {
    const devices = [...plant.devices.values()];
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = devices.filter((device) => words.every((word) => device.text.includes(word)));
    const shown = status ? found.filter((device) => device.status === status) : found;
    const { user } = session;
    return html`<a class="skip" href="#devices">${t("app.skip")}</a>
      <header>
        <div class="top">
          <div class="brand">
            <${Logo} />
            <h1>${t("app.title")}</h1>
            <span class="tenant">${user?.tenant?.name ?? user?.tenant?.slug}</span>
          </div>
          <${ConnectionState} state=${feed.state} />
          <div class="user"><span>${user?.email}</span><button type="button" onClick=${onSignOut}>${t("login.sign_out")}</button></div>
        </div>
        <${Banner} feed=${feed} />
      </header>
      ${devices.length > 0 &&
      html`<${Toolbar}
        devices=${devices}
        found=${found}
        search=${search}
        status=${status}
        rate=${feed.rate()}
        now=${session.now()}
        searchBox=${this.searchBox}
        onChange=${(change) => this.setState(change)}
      />`}
      <main id="devices" tabindex="-1">${this.renderDevices(devices, shown)}</main>`;
  }

  renderDevices(devices, shown) {
    const { plant, feed, session } = this.props;
    if (!plant.loaded) return feed.failure === null && html`<${Skeleton} />`;
    if (!devices.length) return html`<${EmptyPlant} tenant=${session.user?.tenant?.slug} />`;
    if (!shown.length) {
      return html`<p class="nothing">
        ${t("filter.none")}
        <button type="button" onClick=${() => this.setState({ search: "", status: null })}>${t("filter.reset")}</button>
      </p>`;
    }
    return groupByType(shown).map(
      ([type, group]) => html`<section key=${type} aria-label=${readable(type || t("device.untyped"))}>
        ${group.map(
          (device, index) => html`<div class="cell" key=${device.id}>
            <div class="type">
              ${index === 0 && html`<h2>${readable(type || t("device.untyped"))}</h2><span class="count">${group.length}</span>`}
            </div>
            <${DeviceCard} device=${device} version=${device.version} visible=${this.cards} />
          </div>`,
        )}
      </section>`,
    );
  }
}
