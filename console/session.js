const STORAGE_KEY = "iiot.session";
const EXPIRY_MARGIN_MS = 10_000;
const CLOCK_TOLERANCE_MS = 2_000;

/** An answer other than 2xx, with the words of its problem document. */
export class Problem extends Error {
  constructor(response, body) {
    super(body.detail || body.title || `${response.status} ${response.statusText}`.trim());
    this.status = response.status;
    const retryAfter_s = Number(response.headers.get("Retry-After"));
    this.retryAfter_s = retryAfter_s > 0 ? retryAfter_s : null;
  }
}

/**
 * A signed-in user: keeps the tokens for as long as the tab lives, renews the access token before it
 * expires, and sends requests with it.
 */
export class Session {
  #base;
  #storage;
  #renewal = null;
  #timer = null;
  #kept;
  #clockOffset_ms = 0;

  /** `base` is the platform's root address; `onEnded` is called when the tokens are no longer accepted. */
  constructor({ base, storage, onEnded }) {
    this.#base = base;
    this.#storage = storage;
    this.onEnded = onEnded;
    this.#kept = JSON.parse(storage.getItem(STORAGE_KEY) ?? "null");
    if (this.#kept) this.#scheduleRenewal();
  }

  get signedIn() {
    return this.#kept !== null;
  }

  get user() {
    return this.#kept?.user ?? null;
  }

  /** The platform's time in milliseconds: our clock, corrected where it is visibly wrong. */
  now() {
    return Date.now() + this.#clockOffset_ms;
  }

  /** Sign in; throws Problem with the server's reason, or TypeError when the server cannot be reached. */
  async login(email, password) {
    this.#keep(await this.#send("POST", "auth/login", { body: { email, password } }));
    await this.#completeUser();
  }

  async logout() {
    const token = this.#kept?.accessToken;
    this.#forget();
    if (token) await this.#send("POST", "auth/logout", { token }).catch(() => {});
  }

  /** GET a path below `/api/v1/`; a token that is refused is renewed once. */
  async get(path) {
    try {
      return await this.#send("GET", path, { token: await this.freshToken() });
    } catch (error) {
      if (error.status !== 401 || !this.signedIn) throw error;
      await this.renew();
      return this.#send("GET", path, { token: this.#kept.accessToken });
    }
  }

  /** Return an access token that is valid for some seconds more. */
  async freshToken() {
    if (!this.signedIn) throw new Error("signed out");
    if (this.#kept.expiresAt - Date.now() < EXPIRY_MARGIN_MS) await this.renew();
    return this.#kept.accessToken;
  }

  /** Renew the tokens. Calls at the same time share one request: a refresh token works only once. */
  renew() {
    this.#renewal ??= this.#renewOnce().finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  async #renewOnce() {
    const user = this.user;
    try {
      const answer = await this.#send("POST", "auth/refresh", { token: this.#kept?.refreshToken });
      if (this.signedIn) this.#keep({ ...answer, user: answer.user ?? user });
    } catch (error) {
      if (error instanceof Problem && error.status < 500 && error.status !== 429) {
        this.#forget();
        this.onEnded();
      } else {
        this.#scheduleRenewal();
      }
      throw error;
    }
  }

  async #completeUser() {
    if (this.user?.tenant?.slug) return;
    const { user } = await this.get("auth/me");
    this.#kept.user = user;
    this.#storage.setItem(STORAGE_KEY, JSON.stringify(this.#kept));
  }

  async #send(method, path, { token, body } = {}) {
    const headers = { Accept: "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(new URL(`api/v1/${path}`, this.#base), {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
    });
    this.#compareClocks(response.headers.get("Date"));
    const isJson = /[/+]json\b/.test(response.headers.get("Content-Type") ?? "");
    const answer = isJson ? await response.json() : {};
    if (!response.ok) throw new Problem(response, answer);
    return answer;
  }

  #compareClocks(date) {
    if (!date) return;
    // The header counts whole seconds: on average half a second has passed since.
    const offset_ms = Date.parse(date) + 500 - Date.now();
    this.#clockOffset_ms = Math.abs(offset_ms) > CLOCK_TOLERANCE_MS ? offset_ms : 0;
  }

  #keep({ access_token, refresh_token, expires_in, user }) {
    this.#kept = {
      accessToken: access_token,
      refreshToken: refresh_token,
      expiresAt: Date.now() + expires_in * 1000,
      user,
    };
    this.#storage.setItem(STORAGE_KEY, JSON.stringify(this.#kept));
    this.#scheduleRenewal();
  }

  #forget() {
    this.#kept = null;
    this.#storage.removeItem(STORAGE_KEY);
    clearTimeout(this.#timer);
  }

  #scheduleRenewal() {
    clearTimeout(this.#timer);
    const left_ms = this.#kept.expiresAt - Date.now();
    this.#timer = setTimeout(() => this.renew().catch(() => {}), Math.max(5_000, left_ms * 0.8));
  }
}
