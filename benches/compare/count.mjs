// What has to be counted by hand where no library does it. Both clients below share it, so that they
// differ in how they receive and in nothing else.

// Milliseconds; whatever took longer is in the last place.
const LATENCY_MAX_MS = 10_000;

export class Count {
  constructor(streams) {
    this.streams = Array.from({ length: streams }, () => ({ next: 0, missing: new Set() }));
    this.latencies = new Uint32Array(LATENCY_MAX_MS + 1);
    this.delivered = 0;
    this.duplicates = 0;
    this.reordered = 0;
  }

  // One event's data.
  take({ stream: index, seq, at }) {
    const stream = this.streams[index];
    if (seq < stream.next) {
      if (!stream.missing.delete(seq)) {
        this.duplicates += 1;
        return;
      }
      this.reordered += 1;
    } else {
      for (let skipped = stream.next; skipped < seq; skipped += 1) {
        stream.missing.add(skipped);
      }
      stream.next = seq + 1;
    }
    this.delivered += 1;
    const ms = Math.trunc(Date.now() - at / 1000);
    this.latencies[Math.min(Math.max(ms, 0), LATENCY_MAX_MS)] += 1;
  }

  result() {
    const { delivered, duplicates, reordered } = this;
    const lost = this.streams.reduce((sum, { missing }) => sum + missing.size, 0);
    return { delivered, lost, duplicates, reordered, latency_p99_ms: this.percentile(0.99) };
  }

  percentile(part) {
    let left = Math.ceil(this.delivered * part);
    return this.latencies.findIndex((count) => (left -= count) <= 0);
  }
}
