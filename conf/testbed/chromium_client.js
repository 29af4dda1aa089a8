// Chromium as a program for `swingbridge testbed run`: one page with one peer connection and a data channel. It needs node,
// the package playwright-core, and Chromium.
//
//   swingbridge testbed run --left symmetric --right symmetric -- \
//       node conf/testbed/chromium_client.js -- node conf/testbed/chromium_client.js
//
// Both sides have to be this program: they tell each other session descriptions, not the lines of other clients.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--ignore-certificate-errors",
  // Candidates of the host are addresses, not names that nobody in the laboratory answers for.
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];
const SECONDS = Number(process.env.CHROMIUM_SECONDS ?? 4);
const PATIENCE_SECONDS = 40;

// Runs inside the page: `tell` sends to the other side, `window.hear` gets what comes.
async function call({ isLeft, iceServers, seconds, patience }) {
  const began = performance.now();
  const peer = new RTCPeerConnection({ iceServers });
  let heard = 0;
  let isOtherDone = false;
  const opened = new Promise((open) => {
    const use = (channel) => {
      channel.onmessage = () => (heard += 1);
      channel.onopen = () => open(channel);
    };
    peer.ondatachannel = ({ channel }) => use(channel);
    if (isLeft) use(peer.createDataChannel("call", { ordered: false, maxRetransmits: 0 }));
  });
  const waiting = [];
  peer.onicecandidate = ({ candidate }) => candidate && window.tell({ candidate: candidate.toJSON() });
  let isDescribed = false;
  window.hear = async ({ description, candidate, done }) => {
    if (done) isOtherDone = true;
    if (candidate) {
      if (isDescribed) await peer.addIceCandidate(candidate);
      else waiting.push(candidate);
    }
    if (description) {
      await peer.setRemoteDescription(description);
      isDescribed = true;
      for (const early of waiting) await peer.addIceCandidate(early);
      if (!isLeft) {
        await peer.setLocalDescription(await peer.createAnswer());
        window.tell({ description: peer.localDescription.toJSON() });
      }
    }
  };
  await window.ready();
  if (isLeft) {
    await peer.setLocalDescription(await peer.createOffer());
    window.tell({ description: peer.localDescription.toJSON() });
  }
  const late = new Promise((go) => setTimeout(go, patience * 1000));
  const channel = await Promise.race([opened, late]);
  if (!channel) return { connected: false, state: peer.iceConnectionState };
  const after = performance.now() - began;
  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  let sent = 0;
  for (const until = performance.now() + seconds * 1000; performance.now() < until; sent += 1) {
    channel.send("x".repeat(160));
    await sleep(20);
  }
  window.tell({ done: true });
  for (const until = performance.now() + 10_000; !isOtherDone && performance.now() < until; ) await sleep(50);
  const stats = await peer.getStats();
  const transport = [...stats.values()].find((each) => each.type === "transport");
  const pair = stats.get(transport?.selectedCandidatePairId);
  const end = (id) => {
    const { candidateType, relayProtocol, address, port } = stats.get(id) ?? {};
    return { candidateType, relayProtocol, address, port };
  };
  await sleep(200);
  return {
    connected: heard > 0,
    connected_after_ms: after,
    local: end(pair?.localCandidateId),
    remote: end(pair?.remoteCandidateId),
    sent,
    heard,
  };
}

async function main() {
  const env = process.env;
  const iceServers = [
    {
      urls: env.SWINGBRIDGE_TURN_URIS.split(/\s+/),
      username: env.SWINGBRIDGE_USERNAME,
      credential: env.SWINGBRIDGE_PASSWORD,
    },
    { urls: env.SWINGBRIDGE_STUN_URI },
  ];
  const signalling = net.connect(env.SWINGBRIDGE_SIGNALLING);
  // What comes before the page is ready waits.
  const waiting = [];
  let deliver = (line) => waiting.push(line);
  let rest = "";
  signalling.setEncoding("utf8");
  signalling.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) deliver(line);
  });
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "chromium-client-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
    timeout: 60_000,
  });
  try {
    const page = await browser.newPage();
    await page.exposeFunction("tell", (message) => signalling.write(`${JSON.stringify(message)}\n`));
    await page.exposeFunction("ready", () => {
      deliver = (line) => page.evaluate((message) => window.hear(message), JSON.parse(line)).catch(console.error);
      for (const line of waiting.splice(0)) deliver(line);
    });
    const wanted = {
      isLeft: env.SWINGBRIDGE_ROLE === "left",
      iceServers,
      seconds: SECONDS,
      patience: PATIENCE_SECONDS,
    };
    const told = await page.evaluate(call, wanted);
    console.log(JSON.stringify(told));
    process.exitCode = told.connected ? 0 : 1;
  } finally {
    await browser.close();
    signalling.destroy();
    fs.rmSync(profile, { recursive: true, force: true });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
