const form = document.getElementById("sign-in");
const complaint = form.querySelector("[role=alert]");

/** Show the document; a token that was needed to read it authorises the operations too. */
function show(spec, token) {
  form.hidden = true;
  const ui = window.SwaggerUIBundle({
    spec,
    domNode: document.getElementById("swagger-ui"),
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    // Tokens are gone with the page.
    persistAuthorization: false,
    // Nothing is asked of other servers, nor taken from the page's own address.
    validatorUrl: null,
    queryConfigEnabled: false,
    onComplete: () => token && ui.preauthorizeApiKey("access_token", token),
  });
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return body.detail ?? body.title ?? `${response.status} ${response.statusText}`;
}

/** Fetch the document and show it; tells whether the platform let us. */
async function load(token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch("openapi.json", { headers });
  if (response.ok) show(await response.json(), token);
  else if (token) complaint.textContent = await problemOf(response);
  else form.hidden = false;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  complaint.textContent = "";
  const { email, password } = Object.fromEntries(new FormData(form));
  const response = await fetch("auth/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password }),
  });
  if (response.ok) await load((await response.json()).access_token);
  else complaint.textContent = await problemOf(response);
});

await load(null);
