import { HISTORY_MS } from "../plant.js";

export const WIDTH = 60;
export const HEIGHT = 18;
const PAD = 1.5;
/** A series that moves by less than this share of its size is drawn as nearly flat, not blown up to full height. */
const LEAST_SPAN_RATIO = 0.01;

function range(series) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of series.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (series.kind === "state") return [Math.min(0, low), Math.max(1, high)];
  const lack = (LEAST_SPAN_RATIO * Math.max(Math.abs(low), Math.abs(high)) || 1) - (high - low);
  return lack > 0 ? [low - lack / 2, high + lack / 2] : [low, high];
}

/** Return the SVG path of the last minute up to `now`; states are drawn as steps, holes are left open. */
export function sparklinePath(series, now) {
  const { times, values } = series;
  if (!times.length) return "";
  const [low, high] = range(series);
  const scale = (HEIGHT - 2 * PAD) / (high - low);
  let path = "";
  let open = false;
  for (let i = 0; i < times.length; i += 1) {
    if (Number.isNaN(values[i])) {
      open = false;
      continue;
    }
    const x = (WIDTH * (1 - (now - times[i]) / HISTORY_MS)).toFixed(1);
    const y = (HEIGHT - PAD - (values[i] - low) * scale).toFixed(1);
    if (!open) path += `M${x} ${y}`;
    else if (series.kind === "state") path += `H${x}V${y}`;
    else path += `L${x} ${y}`;
    open = true;
  }
  return path;
}
