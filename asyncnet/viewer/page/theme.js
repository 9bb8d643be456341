// Colours, as the style sheet has them, light or dark; and numbers as people read them.

const NAMES = ["paper", "panel", "edge", "text", "quiet", "activity", "feedback", "reward", "transition", "loss", "world", "actor", "critic", "dopamine"];

export const CHANNELS = ["reward", "transition", "feedback", "activity"];
export const theme = {};

export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) theme[name] = style.getPropertyValue(`--${name}`).trim();
  theme.glow = Number(style.getPropertyValue("--glow"));
  theme.font = style.fontFamily;
}

const parts = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

// A colour between two, both as #rrggbb; share 0 is the first.
export function mixed(one, other, share) {
  const a = parts(one), b = parts(other);
  return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * share)).join(" ")})`;
}

export const whole = (value) => Math.floor(value).toLocaleString("en-US");

export function short(value) {
  if (value < 10_000) return whole(value);
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return "";
}

export const percent = (share) => (share === 0 ? "0 %" : share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);

// Microseconds.
export function duration(micros) {
  if (micros < 1000) return `${Number(micros.toPrecision(3))} µs`;
  if (micros < 1e6) return `${Number((micros / 1000).toPrecision(3))} ms`;
  return `${Number((micros / 1e6).toPrecision(3))} s`;
}

export function clock(seconds) {
  const s = Math.floor(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${pad(s % 60)}` : `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
}

// 1, 2 or 5 times a power of ten, not below the value.
export function round125(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}
