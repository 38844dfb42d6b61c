// Unpacks what @sparticuz/chromium carries, compressed, into the folder "chromium" beside this file: the browser and its libraries.
import { createReadStream, createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

const from = join(import.meta.dirname, "node_modules", "@sparticuz", "chromium", "bin");
const to = join(import.meta.dirname, "chromium");
const into = {
  "al2023.tar.br": extract(to),
  "fonts.tar.br": extract(to),
  "chromium.br": createWriteStream(join(to, "chromium"), { mode: 0o755 }),
};
mkdirSync(to, { recursive: true });
await Promise.all(
  Object.entries(into).map(([name, sink]) => pipeline(createReadStream(join(from, name)), createBrotliDecompress(), sink)),
);
