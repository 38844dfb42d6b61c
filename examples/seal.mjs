// How a system in another language seals an approval, with nothing but Node's own library:
//   node examples/seal.mjs approval.json key.pem KID DEPLOYMENT > sealed.json
import { createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const [approval, key, kid, aud] = process.argv.slice(2);
const header = { alg: "Ed25519", kid, typ: "ecr-grants-approval", aud, iat: Math.floor(Date.now() / 1000) };
const payload = readFileSync(approval).toString("base64url");
const protectedHeader = Buffer.from(JSON.stringify(header)).toString("base64url");
const signed = Buffer.from(`${protectedHeader}.${payload}`);
const signature = sign(null, signed, createPrivateKey(readFileSync(key))).toString("base64url");
console.log(JSON.stringify({ payload, protected: protectedHeader, signature }));
