import htm from "./vendor/htm/dist/htm.module.js";
import { h } from "./vendor/preact/dist/preact.mjs";

export { Component, createRef, render } from "./vendor/preact/dist/preact.mjs";
export const html = htm.bind(h);
