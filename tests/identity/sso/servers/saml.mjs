// A SAML identity provider on loopback: Auth0's own library, configured anew by each request's parameter "options".
// argv: the port, the folder with idp.key and idp.crt, and where answers are posted to.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const require = createRequire(process.env.PROVIDER_MODULES + "/");
const samlp = require("samlp");
const [port, folder, acs] = process.argv.slice(2);
const read = (name) => readFileSync(`${folder}/${name}`, "utf8");

const configuration = {
  issuer: "urn:test:idp",
  cert: read("idp.crt"),
  key: read("idp.key"),
  signatureAlgorithm: "rsa-sha256",
  digestAlgorithm: "sha256",
  nameIdentifierFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
  nameIdentifierProbes: ["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier"],
  sessionIndex: "_session1",
  destination: acs,
  recipient: acs,
  getPostURL: (audience, request, req, callback) => callback(null, acs),
};

createServer((req, res) => {
  const url = new URL(req.url, `http://127.0.0.1:${port}`);
  req.query = Object.fromEntries(url.searchParams);
  req.body = {};
  res.set = (name, value) => res.setHeader(name, value);
  res.send = (body) => res.end(body);
  const { encrypt, user, ...changes } = JSON.parse(req.query.options ?? "{}");
  const encryption = encrypt ? { encryptionCert: read("sp.crt"), encryptionPublicKey: read("sp.pub") } : {};
  const person = { id: "ada", emails: [{ value: "ada@corp.test" }], displayName: "Ada", name: {}, ...user };
  samlp.auth({ ...configuration, ...encryption, ...changes, getUserFromRequest: () => person })(req, res, (error) => {
    res.statusCode = 400;
    res.end(String(error));
  });
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
