// A certified OpenID Connect provider on loopback, with the login page that it brings for development: whatever name is
// given is signed in. argv: the port, the client's configuration as JSON, and a file with who is in which groups.
import { createRequire } from "node:module";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.PROVIDER_MODULES + "/");
const { default: Provider } = await import(require.resolve("oidc-provider"));
const [port, client, groups] = [process.argv[2], JSON.parse(process.argv[3]), process.argv[4]];

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: "first" };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  jwks: { keys: [key] },
  cookies: { keys: ["only for tests"] },
  acrValues: ["urn:test:mfa"],
  claims: {
    openid: ["sub"],
    email: ["email", "email_verified"],
    profile: ["name", "given_name", "family_name"],
    groups: ["groups"],
  },
  // Its own dispatcher refuses to send logout tokens to loopback, where the tests listen.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  scopes: ["openid", "offline_access", "groups"],
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
  // "unverified-ada" has an address that nobody has verified.
  async findAccount(_, name) {
    return {
      accountId: name,
      claims: () => ({
        sub: name,
        name: `${name} of the directory`,
        email: `${name.replace("unverified-", "")}@corp.test`,
        email_verified: !name.startsWith("unverified-"),
        groups: JSON.parse(readFileSync(groups, "utf8"))[name],
      }),
    };
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
