/** Knows which device cards are on or near the screen, and paints only these. */
export class VisibleCards {
  #cards = new Map();
  #visible = new Set();
  #now;
  #observer;

  /** `now` returns the platform's time in milliseconds. */
  constructor(now) {
    this.#now = now;
    this.#observer = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: "200px" });
  }

  watch(element, card) {
    this.#cards.set(element, card);
    this.#observer.observe(element);
  }

  unwatch(element) {
    this.#observer.unobserve(element);
    this.#visible.delete(this.#cards.get(element));
    this.#cards.delete(element);
  }

  /** Paint the series that have a new reading. */
  paint(changed) {
    const now = this.#now();
    for (const card of this.#visible) {
      for (const [series, row] of card.rows) {
        if (changed.has(series)) row.paint(now);
      }
    }
  }

  /** Paint everything on the screen, after devices or metrics came or went. */
  paintAll() {
    const now = this.#now();
    for (const card of this.#visible) card.paint(now);
  }

  /** Let ages and trends move on. */
  tick() {
    const now = this.#now();
    for (const card of this.#visible) card.tick(now);
  }

  #moved(entries) {
    const now = this.#now();
    for (const { target, isIntersecting } of entries) {
      const card = this.#cards.get(target);
      if (!card) continue;
      if (isIntersecting) {
        this.#visible.add(card);
        card.paint(now);
      } else {
        this.#visible.delete(card);
      }
    }
  }
}
