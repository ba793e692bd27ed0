import { Component, createRef, html } from "../html.js";
import { t } from "../i18n/index.js";
import { Problem } from "../session.js";
import { Icon, Logo } from "./icon.js";

function reason(error) {
  if (!(error instanceof Problem)) return t("login.unreachable");
  return error.retryAfter_s ? `${error.message} ${t("login.wait", { n: error.retryAfter_s })}` : error.message;
}

export class LoginPage extends Component {
  state = { busy: false, error: null };
  first = createRef();

  componentDidMount() {
    this.first.current.focus();
  }

  async submit(event) {
    event.preventDefault();
    const { email, password } = event.target.elements;
    this.setState({ busy: true, error: null });
    try {
      await this.props.session.login(email.value.trim(), password.value);
      this.props.onDone();
    } catch (error) {
      this.setState({ busy: false, error: reason(error) });
      password.select();
    }
  }

  render({ ended }, { busy, error }) {
    const message = error ?? (ended ? t("login.ended") : null);
    return html`<main class="login">
      <form class="login-form" onSubmit=${(event) => this.submit(event)}>
        <div class="brand"><${Logo} /><span>${t("app.title")}</span></div>
        <h1>${t("login.title")}</h1>
        <label>
          <span>${t("login.email")}</span>
          <input name="email" type="email" autocomplete="username" required ref=${this.first} />
        </label>
        <label>
          <span>${t("login.password")}</span>
          <input name="password" type="password" autocomplete="current-password" required />
        </label>
        <p class="login-message" role="alert">${message && html`<${Icon} name="warning" />${message}`}</p>
        <button class="primary" type="submit" disabled=${busy}>${t(busy ? "login.busy" : "login.submit")}</button>
      </form>
    </main>`;
  }
}
