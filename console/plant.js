import { decimalsOf } from "./format.js";

export const HISTORY_MS = 60_000;
const HISTORY_STEP_MS = 500;
const STALE_AFTER_MS = 60_000;
const STALE_AFTER_INTERVALS = 3;

const moment = (text) => (text === null || text === undefined ? null : new Date(text).getTime());

/** The newest reading of one metric of one device, and its last minute. */
export class Series {
  value = null;
  quality = "good";
  observedAt = null;
  receivedAt = null;
  decimals = 0;
  times = [];
  values = [];
  #interval_ms = 0;

  constructor(device, metric) {
    this.device = device;
    this.describe(metric);
  }

  describe({ name, unit, kind }) {
    this.name = name;
    this.unit = unit ?? "";
    this.kind = kind ?? "gauge";
  }

  /** Take over a reading unless a newer one is known; returns whether anything changed. */
  apply({ value, quality, observedAt, receivedAt }) {
    if (this.observedAt !== null && observedAt < this.observedAt) return false;
    if (observedAt === this.observedAt && value === this.value && quality === this.quality) return false;
    if (this.observedAt !== null && observedAt > this.observedAt) {
      this.#interval_ms = observedAt - this.observedAt;
    }
    this.value = value;
    this.quality = quality;
    this.observedAt = observedAt;
    this.receivedAt = receivedAt;
    if (value !== null) this.decimals = Math.max(this.decimals, decimalsOf(value));
    this.#remember(observedAt, value ?? NaN);
    return true;
  }

  /** Mark a hole in the history, so that no line is drawn across what was not seen. */
  interrupt() {
    if (this.times.length) this.#remember(this.times.at(-1) + HISTORY_STEP_MS, NaN);
  }

  /** Whether the reading is older than a minute, and than three of the source's own intervals. */
  isStale(now) {
    if (this.observedAt === null) return false;
    return now - this.observedAt > Math.max(STALE_AFTER_MS, STALE_AFTER_INTERVALS * this.#interval_ms);
  }

  #remember(time, value) {
    const last = this.times.length - 1;
    if (last >= 0 && time - this.times[last] < HISTORY_STEP_MS / 2 && !Number.isNaN(value)) {
      this.values[last] = value;
      return;
    }
    this.times.push(time);
    this.values.push(value);
    const oldest = time - HISTORY_MS - HISTORY_STEP_MS;
    let outdated = 0;
    // One point before the window stays: the line enters from the left edge.
    while (this.times[outdated + 1] < oldest) outdated += 1;
    if (outdated) {
      this.times.splice(0, outdated);
      this.values.splice(0, outdated);
    }
  }
}

/** A device and its series by metric name. */
export class Device {
  series = new Map();
  seq = null;
  status = "unknown";
  lastSeen = null;
  /** Counts the changes of everything but readings and times. */
  version = 0;
  #shape = "";

  constructor(id) {
    this.id = id;
  }

  describe({ name, type, location, status, last_seen, metrics }) {
    this.seenAt(moment(last_seen));
    const shape = JSON.stringify([name, type, location, status, metrics]);
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.version += 1;
    this.name = name ?? "";
    this.type = type ?? "";
    this.location = location ?? "";
    this.status = status;
    for (const metric of metrics ?? []) {
      const series = this.series.get(metric.name);
      if (series) series.describe(metric);
      else this.series.set(metric.name, new Series(this, metric));
    }
    this.text = [this.id, this.name, this.type, this.location, ...this.series.keys()].join(" ").toLowerCase();
    this.text += ` ${this.text.replaceAll("_", " ")}`;
  }

  setStatus(status) {
    if (status === this.status) return false;
    this.status = status;
    this.#shape = "";
    this.version += 1;
    return true;
  }

  seenAt(time) {
    if (time !== null && (this.lastSeen === null || time > this.lastSeen)) this.lastSeen = time;
  }
}

/**
 * All that is known of the plant. Changes are gathered and handed over once per frame: `onFrame(series)`
 * gets the series with a new reading, `onShape()` tells that devices, metrics or a status changed.
 */
export class Plant {
  devices = new Map();
  loaded = false;
  onFrame = () => {};
  onShape = () => {};
  #changed = new Set();
  #shapeChanged = false;
  #frame = null;

  setDevices(items) {
    const gone = new Set(this.devices.keys());
    for (const item of items) {
      gone.delete(item.device_id);
      const device = this.devices.get(item.device_id) ?? new Device(item.device_id);
      device.describe(item);
      this.devices.set(device.id, device);
    }
    for (const id of gone) this.devices.delete(id);
    this.loaded = true;
    this.#shapeChanged = true;
    this.#schedule();
  }

  /** Apply one reading in API form (`ts` live, `observed_at` from storage); false if its metric is unknown. */
  applyReading(item) {
    const series = this.devices.get(item.device_id)?.series.get(item.metric);
    if (!series) return false;
    const changed = series.apply({
      value: item.value,
      quality: item.quality,
      observedAt: moment(item.ts ?? item.observed_at),
      receivedAt: moment(item.received_at),
    });
    if (changed) {
      this.#changed.add(series);
      this.#schedule();
    }
    return true;
  }

  /** Apply a `device_update`; false if the device is unknown. */
  applyStatus({ device_id, status, last_seen }) {
    const device = this.devices.get(device_id);
    if (!device) return false;
    device.seenAt(moment(last_seen));
    if (device.setStatus(status)) {
      this.#shapeChanged = true;
      this.#schedule();
    }
    return true;
  }

  /** Begin counting updates anew; after an outage that was seen, also mark it as a hole in every history. */
  restart({ afterOutage }) {
    for (const device of this.devices.values()) {
      device.seq = null;
      if (afterOutage) device.series.forEach((series) => series.interrupt());
    }
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      const changed = this.#changed;
      this.#changed = new Set();
      if (this.#shapeChanged) {
        this.#shapeChanged = false;
        this.onShape();
      }
      this.onFrame(changed);
    });
  }
}
