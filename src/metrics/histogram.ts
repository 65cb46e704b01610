/** Counts values by upper bounds that are fixed, as histograms of Prometheus do. */
export class Histogram {
  /** Upper bounds, inclusive, ascending. What is above the last one is counted as well. */
  readonly bounds: readonly number[];
  /** How many values each bound is the least for; the last one counts those above all bounds. */
  readonly counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  get sum(): number {
    return this.#sum;
  }

  /** Takes no memory. Most values are small, so the search begins with the smallest bound. */
  observe(value: number): void {
    const { bounds, counts } = this;
    let i = 0;
    while (i < bounds.length && value > bounds[i]!) i++;
    counts[i]! += 1;
    this.#sum += value;
  }
}
