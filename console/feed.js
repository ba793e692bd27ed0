import { io } from "./vendor/socket.io-client/dist/socket.io.esm.min.js";
import { Problem } from "./session.js";

const DOWN_AFTER_MS = 1_000;
const SUBSCRIBE_TIMEOUT_MS = 2_000;
const GATHER_MS = 300;
const EMPTY_POLL_MS = 5_000;
const RETRY_MAX_S = 15;
const RATE_WINDOW_MS = 5_000;
const SINGLE_RESYNCS = 4;

/**
 * Keeps a plant in step with the platform: the live stream, the state it starts from, and what was missed.
 *
 * `state` is `connecting`, `live` or `down`: since `downSince`, and with the server's reason in `refusal` if
 * it gave one. `failure` holds why the devices could not be loaded. `onChange()` is called when one of these
 * changes.
 */
export class Feed {
  state = "connecting";
  downSince = null;
  refusal = null;
  failure = null;
  onChange = () => {};
  #session;
  #plant;
  #socket;
  #stopped = false;
  #timers = { down: null, retry: null, gather: null, load: null };
  #attempt = 0;
  #refusals = 0;
  #missed = new Set();
  #listOutdated = false;
  #arrivals = [];

  constructor({ session, plant, base }) {
    this.#session = session;
    this.#plant = plant;
    this.#socket = io(base.origin, {
      path: `${base.pathname}socket.io`,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelayMax: 5_000,
      autoConnect: false,
      auth: (answer) => session.freshToken().then((token) => answer({ token }), () => answer({ token: "" })),
    });
  }

  start() {
    this.#socket.on("connect", () => this.#connected());
    this.#socket.on("disconnect", (reason) => this.#disconnected(reason));
    this.#socket.on("connect_error", (error) => this.#refused(error));
    this.#socket.on("telemetry_update", (update) => this.#telemetry(update));
    this.#socket.on("device_update", (update) => {
      if (!this.#plant.applyStatus(update)) this.#noticeUnknown();
    });
    this.#socket.connect();
    this.#load();
  }

  stop() {
    this.#stopped = true;
    Object.values(this.#timers).forEach(clearTimeout);
    this.#socket.disconnect();
  }

  /** Connect now instead of at the next attempt. */
  retry() {
    this.#socket.disconnect().connect();
    if (this.failure) this.#load();
  }

  /** Readings per second over the last seconds. */
  rate() {
    const now = Date.now();
    this.#arrivals = this.#arrivals.filter(([time]) => now - time < RATE_WINDOW_MS);
    return this.#arrivals.reduce((sum, [, count]) => sum + count, 0) / (RATE_WINDOW_MS / 1000);
  }

  async #connected() {
    clearTimeout(this.#timers.down);
    this.#refusals = 0;
    this.refusal = null;
    this.#plant.restart({ afterOutage: this.state === "down" });
    // Subscribe first and read the state second: what happens in between arrives twice rather than never.
    await this.#socket
      .timeout(SUBSCRIBE_TIMEOUT_MS)
      .emitWithAck("subscribe", { devices: ["*"] })
      .catch(() => {});
    if (!this.#socket.connected) return;
    this.#setState("live");
    this.#load();
  }

  #disconnected(reason) {
    if (this.#stopped) return;
    const since = Date.now();
    clearTimeout(this.#timers.down);
    // The server ends a connection with its token; a moment later we are back with the next token.
    this.#timers.down = setTimeout(() => this.#setState("down", since), DOWN_AFTER_MS);
    if (reason === "io server disconnect") this.#socket.connect();
  }

  async #refused(error) {
    if (this.#stopped) return;
    // A connection that the server refuses is not tried again by the client itself; one that failed is.
    const isRefusal = !this.#socket.active;
    this.refusal = isRefusal ? error.message : null;
    this.#setState("down", this.downSince ?? Date.now());
    if (!isRefusal) return;
    this.#refusals += 1;
    const delay_s = Math.min(RETRY_MAX_S, 2 ** (this.#refusals - 1));
    if (/token/i.test(error.message)) await this.#session.renew().catch(() => {});
    if (this.#stopped || !this.#session.signedIn) return;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = setTimeout(() => this.#socket.connect(), this.#refusals === 1 ? 0 : delay_s * 1000);
  }

  #telemetry({ device_id, seq, readings }) {
    const device = this.#plant.devices.get(device_id);
    this.#arrivals.push([Date.now(), readings.length]);
    if (!device) {
      this.#noticeUnknown();
      return;
    }
    if (device.seq !== null && seq !== device.seq + 1) this.#noticeMissed(device_id);
    device.seq = seq;
    device.seenAt(this.#session.now());
    for (const reading of readings) {
      if (!this.#plant.applyReading(reading)) this.#noticeUnknown();
    }
  }

  #noticeMissed(deviceId) {
    this.#missed.add(deviceId);
    this.#gather();
  }

  #noticeUnknown() {
    if (!this.#plant.loaded) return;
    this.#listOutdated = true;
    this.#gather();
  }

  #gather() {
    this.#timers.gather ??= setTimeout(() => {
      this.#timers.gather = null;
      const missed = [...this.#missed];
      this.#missed.clear();
      if (this.#listOutdated || missed.length > SINGLE_RESYNCS) this.#load();
      else missed.forEach((id) => this.#resync(id));
    }, GATHER_MS);
  }

  async #resync(deviceId) {
    try {
      const { values } = await this.#session.get(`devices/${encodeURIComponent(deviceId)}/latest`);
      for (const value of values) this.#plant.applyReading({ ...value, device_id: deviceId });
    } catch {
      if (!this.#stopped) this.#load();
    }
  }

  /** Read all devices and their latest values; tries again until it succeeds. A newer call replaces an older. */
  async #load() {
    const attempt = ++this.#attempt;
    const isCurrent = () => attempt === this.#attempt && !this.#stopped;
    clearTimeout(this.#timers.load);
    this.#listOutdated = false;
    for (let failures = 0; isCurrent(); failures += 1) {
      try {
        const devices = await this.#pages("devices?limit=200");
        if (!isCurrent()) return;
        this.#plant.setDevices(devices);
        const latest = await this.#pages("latest?limit=1000");
        if (!isCurrent()) return;
        latest.forEach((item) => this.#plant.applyReading(item));
        this.#setFailure(null);
        if (!devices.length) this.#timers.load = setTimeout(() => this.#load(), EMPTY_POLL_MS);
        return;
      } catch (error) {
        if (!isCurrent() || !this.#session.signedIn) return;
        this.#setFailure(error instanceof Problem ? error.message : "");
        const delay_s = error.retryAfter_s ?? Math.min(RETRY_MAX_S, 2 ** failures);
        await new Promise((resolve) => (this.#timers.load = setTimeout(resolve, delay_s * 1000)));
      }
    }
  }

  async #pages(path) {
    const items = [];
    let cursor = "";
    do {
      const page = await this.#session.get(path + (cursor && `&cursor=${encodeURIComponent(cursor)}`));
      items.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor);
    return items;
  }

  #setState(state, downSince = null) {
    this.state = state;
    this.downSince = downSince;
    this.onChange();
  }

  #setFailure(failure) {
    if (this.failure === failure) return;
    this.failure = failure;
    this.onChange();
  }
}
