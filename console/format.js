import { locale, t } from "./i18n/index.js";

const numberFormats = new Map();
const momentFormat = new Intl.DateTimeFormat(locale, {
  dateStyle: "medium",
  timeStyle: "medium",
});

function fixed(value, decimals) {
  let format = numberFormats.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    numberFormats.set(decimals, format);
  }
  return format.format(value);
}

/** Return how many decimals a number needs to be written exactly, at most 6. */
export function decimalsOf(value) {
  const text = String(value);
  const point = text.indexOf(".");
  return point < 0 || text.includes("e") ? 0 : Math.min(6, text.length - point - 1);
}

/**
 * Write a value with the decimals its metric has been seen to use, up to what its size makes readable.
 * The number of decimals does not follow each reading, so a column of moving values stands still.
 */
export function formatValue(value, unit, seenDecimals) {
  if (value === null || value === undefined) return "–";
  if (unit === "bool") return t(value ? "state.on" : "state.off");
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(3);
  const readable = size >= 100 ? 1 : size >= 1 ? 2 : 4;
  return fixed(value, Math.min(seenDecimals, readable));
}

/** Write a duration in its largest whole unit: `2 s`, `14 min`, `3 h`, `8 d`. */
export function formatDuration(duration_ms) {
  const seconds = Math.max(0, Math.floor(duration_ms / 1000));
  if (seconds < 120) return t("age.s", { n: seconds });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return t("age.min", { n: minutes });
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? t("age.h", { n: hours }) : t("age.d", { n: Math.floor(hours / 24) });
}

/** Write a reading's age; a source whose clock is more than 5 s ahead of ours shows as `+7 min`. */
export function formatAge(age_ms) {
  return age_ms < -5000 ? t("age.ahead", { age: formatDuration(-age_ms) }) : formatDuration(age_ms);
}

export function formatMoment(moment_ms) {
  return momentFormat.format(moment_ms);
}

/** Write a whole number or a rate with the locale's separators. */
export function formatCount(count) {
  return fixed(count, 0);
}

/** Make an identifier such as `bearing_de_temperature` readable: `Bearing de temperature`. */
export function readable(identifier) {
  const words = identifier.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
