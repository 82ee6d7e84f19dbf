// Start, cancel and resume an operation with nats.js, as a service of another team would.
//
//   npm install && npm run build
//   MILEPOST_NATS_URL=nats://user:password@host:4222 npm start -- backtest spec.json nightly-2026-11-26
//
// The last word is a name of your own for this piece of work; every command's id, its idempotency key, is made from
// it. Run again with the same name, each command is answered as a duplicate and nothing happens twice.

import { readFile } from "node:fs/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, errors, type NatsConnection } from "@nats-io/transport-node";

const PREFIX = process.env.MILEPOST_PREFIX ?? "milepost";
const SOURCE = "/nightly"; // who asks: events say it as `requested_by`
const ANSWER_MILLISECONDS = 5_000;
const ASKED_MAX = 6;
const STOP_AT_UNIT = 4_000;

// contracts/schemas/command.*.v1.json, as far as it is used here
interface Start { kind: string; spec: object; name?: string; options?: { pace_units_per_second?: number } }
interface Cancel { operation_id: string; at_unit?: number; deadline_seconds?: number; force?: boolean; reason?: string }
interface Resume { operation_id: string; checkpoint_id?: string; options?: object }
interface Commands { start: Start; cancel: Cancel; resume: Resume }

// contracts/schemas/verdict.v1.json
interface Accepted { verdict: "accepted" | "duplicate"; command_id: string; operation_id: string }
interface Rejected {
  verdict: "rejected"; command_id: string; code: string; message: string; fix: string;
  problems: { field: string; message: string }[];
}
type Verdict = Accepted | Rejected;

// contracts/schemas/envelope.v1.json, of the event with which an operation ends
interface Ended { type: string; data: { unit: number } }

/** A command as it goes over the bus: a CloudEvents document. */
function envelope<Name extends keyof Commands>(command: Name, id: string, about: string, data: Commands[Name]): string {
  return JSON.stringify({
    specversion: "1.0",
    id,
    source: SOURCE,
    type: `milepost.command.${command}.v1`,
    subject: about,
    time: new Date().toISOString(),
    datacontenttype: "application/json",
    data,
  });
}

/** Send a command and return its verdict. Asked again with the same id it still takes effect once. */
async function request<Name extends keyof Commands>(
  bus: NatsConnection, command: Name, id: string, about: string, data: Commands[Name],
): Promise<Accepted> {
  for (let asked = 0; asked < ASKED_MAX; asked++) {
    try {
      const reply = await bus.request(`${PREFIX}.request.${command}`, envelope(command, id, about, data), {
        timeout: ANSWER_MILLISECONDS,
      });
      return accepted(reply.json<Verdict>());
    } catch (error) {
      if (error instanceof errors.RequestError && error.isNoResponders()) {
        await new Promise((resolve) => setTimeout(resolve, 1_000)); // no orchestrator is up: that comes at once
      } else if (!(error instanceof errors.TimeoutError)) {
        throw error;
      }
    }
  }
  throw new Error(`no orchestrator answered ${id}; it is safe to ask again`);
}

/** Store a command for the orchestrator and wait for nobody: it may be down. */
async function publish<Name extends keyof Commands>(
  bus: NatsConnection, command: Name, id: string, about: string, data: Commands[Name],
): Promise<void> {
  // Published twice within two minutes, it is stored once.
  await jetstream(bus).publish(`${PREFIX}.command.${command}`, envelope(command, id, about, data), { msgID: id });
}

/** The verdict on a published command, waiting for it; it is kept for a day. */
async function verdict(bus: NatsConnection, id: string): Promise<Accepted> {
  return accepted(await firstMessage<Verdict>(bus, `${PREFIX}.verdict.${id}`));
}

/** The event with which an operation ends, waiting for it. */
async function endOf(bus: NatsConnection, operation: string): Promise<Ended> {
  const side = `${PREFIX}.event.${operation}.run`;
  return firstMessage<Ended>(bus, `${side}.completed`, `${side}.cancelled`, `${side}.failed`);
}

/** The first message that a JetStream stream has on these subjects, now or later. */
async function firstMessage<Body>(bus: NatsConnection, first: string, ...others: string[]): Promise<Body> {
  const stream = await (await jetstreamManager(bus)).streams.find(first);
  const consumer = await jetstream(bus).consumers.get(stream, { filter_subjects: [first, ...others] });
  for (;;) {
    const message = await consumer.next({ expires: ANSWER_MILLISECONDS });
    if (message !== null) {
      return message.json<Body>();
    }
  }
}

/** A verdict that says yes; when it says no, an error with the reason, every problem and the fix. */
function accepted(found: Verdict): Accepted {
  if (found.verdict !== "rejected") {
    return found;
  }
  const problems = found.problems.map((each) => `\n  ${each.field}: ${each.message}`).join("");
  throw new Error(`${found.code}: ${found.message}${problems}\n${found.fix}`);
}

/** Start, cancel after a unit without waiting, wait for the end, resume, wait for that end. */
async function main(kind: string, spec: object, name: string): Promise<object> {
  const { username: user, password: pass, host: servers } = new URL(process.env.MILEPOST_NATS_URL ?? "");
  const bus = await connect({ servers, user, pass, name: SOURCE });
  try {
    const start = { kind, spec, name, options: { pace_units_per_second: 2_500 } };
    const started = await request(bus, "start", `${name}-start`, kind, start);
    const parent = started.operation_id;

    const cancel = { operation_id: parent, at_unit: STOP_AT_UNIT, reason: "the machine is needed" };
    await publish(bus, "cancel", `${name}-cancel`, parent, cancel);
    const cancelled = await verdict(bus, `${name}-cancel`);
    const stopped = await endOf(bus, parent);

    const resumed = await request(bus, "resume", `${name}-resume`, parent, { operation_id: parent, options: {} });
    const ended = await endOf(bus, resumed.operation_id);
    return {
      verdicts: [started.verdict, cancelled.verdict, resumed.verdict],
      parent,
      stopped: { event: stopped.type, unit: stopped.data.unit },
      child: resumed.operation_id,
      ended: { event: ended.type, unit: ended.data.unit },
    };
  } finally {
    await bus.close();
  }
}

const [kind, specFile, name] = process.argv.slice(2);
if (kind === undefined || specFile === undefined || name === undefined) {
  console.error("usage: commands KIND SPEC_FILE NAME");
  process.exit(2);
}
try {
  console.log(JSON.stringify(await main(kind, JSON.parse(await readFile(specFile, "utf8")) as object, name)));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
