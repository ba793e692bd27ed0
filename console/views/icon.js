import { html } from "../html.js";

const shapes = {
  online: html`<circle cx="8" cy="8" r="7" /><path class="cut" d="m4.8 8.2 2.2 2.2 4.2-4.6" />`,
  offline: html`<circle cx="8" cy="8" r="7" /><path class="cut" d="m5.5 5.5 5 5m0-5-5 5" />`,
  unknown: html`<circle cx="8" cy="8" r="7" /><path class="cut" d="M6 6.3a2 2 0 1 1 2.8 1.9c-.6.3-.8.6-.8 1.2M8 11.6v.1" />`,
  connecting: html`<path class="line" d="M8 2a6 6 0 1 1-6 6" />`,
  live: html`<path class="line" d="M1 8.5h3l2-5 3.5 9 2-6 1 2H15" />`,
  down: html`<path class="line" d="M2 2l12 12M3 7.5a7.5 7.5 0 0 1 2.6-1.7M13 7.5a7.5 7.5 0 0 0-4.5-2M5.5 10.5a3.5 3.5 0 0 1 3.2-.9M8 13.4v.1" />`,
  warning: html`<path d="M8 1.2 15.4 14.5H.6z" /><path class="cut" d="M8 6v4M8 12.2v.1" />`,
  clock: html`<path class="line" d="M8 4.5V8l2.3 1.6M14.3 8A6.3 6.3 0 1 1 1.7 8a6.3 6.3 0 0 1 12.6 0z" />`,
  search: html`<path class="line" d="M11 11l3.5 3.5M12 7A5 5 0 1 1 2 7a5 5 0 0 1 10 0z" />`,
};

/** A small picture that stands beside its word, never instead of it. */
export function Icon({ name }) {
  return html`<svg class="icon icon-${name}" viewBox="0 0 16 16" aria-hidden="true">${shapes[name]}</svg>`;
}

export function Logo() {
  return html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M4 17h6l3-8 6 15 3.5-10 1.5 3h4" />
  </svg>`;
}
