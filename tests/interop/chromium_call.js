// Two peer connections in one page of headless Chromium, relayed candidates only: video drawn on a canvas, a tone, and
// a data channel, each in both directions. Reads one JSON object on the standard input ({chromium, profile, iceServers,
// seconds, enough, flags}) and writes what each side's getStats() and data channel said as JSON on the standard output.
"use strict";

const fs = require("node:fs");
const { chromium } = require("playwright-core");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--allow-loopback-in-peer-connection",
  "--autoplay-policy=no-user-gesture-required",
];

// Runs inside the page.
async function call({ iceServers, seconds, enough }) {
  const MESSAGES = 200;
  const PATIENCE = 30;
  const errors = [];

  // A moving picture and a tone, made here: no camera, microphone or file.
  function media(hue) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [320, 240];
    const paint = canvas.getContext("2d");
    let frame = 0;
    setInterval(() => {
      frame += 1;
      paint.fillStyle = `hsl(${(hue + frame * 3) % 360} 90% 50%)`;
      paint.fillRect(0, 0, 320, 240);
      paint.fillStyle = "white";
      paint.fillRect((frame * 7) % 320, (frame * 5) % 240, 60, 60);
    }, 33);
    const audio = new AudioContext();
    const tone = audio.createOscillator();
    const out = audio.createMediaStreamDestination();
    tone.frequency.value = 220 + hue;
    tone.connect(out);
    tone.start();
    return [...canvas.captureStream(30).getTracks(), ...out.stream.getTracks()];
  }

  function side(name, hue) {
    const peer = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay" });
    const stream = new MediaStream(media(hue));
    for (const track of stream.getTracks()) peer.addTrack(track, stream);
    peer.ontrack = ({ track, streams }) => {
      if (track.kind !== "video") return;
      const video = document.createElement("video");
      [video.muted, video.autoplay, video.srcObject] = [true, true, streams[0]];
      document.body.append(video);
    };
    peer.onicecandidateerror = (event) => errors.push(`${name}: ${event.errorCode} ${event.errorText} ${event.url}`);
    return peer;
  }

  const one = side("one", 0);
  const other = side("other", 180);
  for (const [here, there] of [[one, other], [other, one]]) {
    here.onicecandidate = ({ candidate }) => candidate && there.addIceCandidate(candidate);
  }

  const text = (number) => `${number}:`.padEnd(1000, String.fromCharCode(97 + (number % 26)));
  const back = new Set();
  const channel = one.createDataChannel("echo");
  channel.onopen = async () => {
    for (let number = 0; number < MESSAGES; number += 1) {
      channel.send(text(number));
      await new Promise((go) => setTimeout(go, 10));
    }
  };
  channel.onmessage = ({ data }) => {
    const number = Number.parseInt(data, 10);
    if (data === text(number)) back.add(number);
    else errors.push(`the echo of message ${number} is not what was sent`);
  };
  other.ondatachannel = ({ channel: far }) => {
    far.onmessage = ({ data }) => far.send(data);
  };

  await one.setLocalDescription(await one.createOffer());
  await other.setRemoteDescription(one.localDescription);
  await other.setLocalDescription(await other.createAnswer());
  await one.setRemoteDescription(other.localDescription);
  await new Promise((go) => setTimeout(go, seconds * 1000));

  async function report(peer) {
    const stats = await peer.getStats();
    const all = [...stats.values()];
    const transport = all.find((each) => each.type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    const inbound = (kind) => all.find((each) => each.type === "inbound-rtp" && each.kind === kind) ?? {};
    return {
      state: peer.connectionState,
      pair: pair && { sent: pair.bytesSent, received: pair.bytesReceived, state: pair.state },
      local: pair && stats.get(pair.localCandidateId),
      remote: pair && stats.get(pair.remoteCandidateId),
      framesDecoded: inbound("video").framesDecoded,
      videoBytes: inbound("video").bytesReceived,
      audioPackets: inbound("audio").packetsReceived,
      audioLost: inbound("audio").packetsLost,
      videoLost: inbound("video").packetsLost,
    };
  }
  // A machine that is busy needs longer for as much of a call; how long does not matter.
  const has = (side) =>
    Math.min(side.pair?.sent ?? 0, side.pair?.received ?? 0) > enough.bytes &&
    (side.framesDecoded ?? 0) > enough.frames &&
    (side.audioPackets ?? 0) > enough.audioPackets;
  let sides;
  for (let more = 0; more < PATIENCE; more += 1) {
    sides = { one: await report(one), other: await report(other) };
    if (has(sides.one) && has(sides.other) && back.size === MESSAGES) break;
    await new Promise((go) => setTimeout(go, 1000));
  }
  one.close();
  other.close();
  return { sides, echoed: back.size, messages: MESSAGES, errors };
}

async function main() {
  const wanted = JSON.parse(fs.readFileSync(0, "utf8"));
  const browser = await chromium.launchPersistentContext(wanted.profile, {
    executablePath: wanted.chromium,
    headless: true,
    args: [...FLAGS, ...(wanted.flags ?? [])],
    timeout: 30_000,
  });
  try {
    const page = await browser.newPage();
    process.stdout.write(JSON.stringify(await page.evaluate(call, wanted)));
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
