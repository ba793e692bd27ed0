import { Feed } from "./feed.js";
import { Component, html, render } from "./html.js";
import { language, t } from "./i18n/index.js";
import { Plant } from "./plant.js";
import { Session } from "./session.js";
import { LoginPage } from "./views/login_page.js";
import { PlantPage } from "./views/plant_page.js";

/** The platform's root address: the folder above this one, so a path prefix of a proxy is kept. */
const base = new URL("..", import.meta.url);

class App extends Component {
  constructor(props) {
    super(props);
    this.session = new Session({ base, storage: sessionStorage, onEnded: () => this.leave({ ended: true }) });
    this.state = { page: "login", ended: false };
    if (this.session.signedIn) this.state = this.enter();
  }

  enter() {
    this.plant = new Plant();
    this.feed = new Feed({ session: this.session, plant: this.plant, base });
    this.feed.start();
    return { page: "plant", ended: false };
  }

  leave({ ended }) {
    this.feed?.stop();
    this.setState({ page: "login", ended });
  }

  async signOut() {
    this.leave({ ended: false });
    await this.session.logout();
  }

  render(_, { page, ended }) {
    if (page === "login") {
      return html`<${LoginPage} session=${this.session} ended=${ended} onDone=${() => this.setState(this.enter())} />`;
    }
    return html`<${PlantPage}
      session=${this.session}
      plant=${this.plant}
      feed=${this.feed}
      onSignOut=${() => this.signOut()}
    />`;
  }
}

document.documentElement.lang = language;
document.title = t("app.title");
render(html`<${App} />`, document.getElementById("app"));
