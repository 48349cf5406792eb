import Benchmark
import Dispatch
import MidCore
import Synchronization

/// Answers every load at once, on the caller's thread: what is measured is the generator.
final class InstantLoader: Sendable {
  private let position = Atomic<Int64>(1)
  private let generator = Mutex<SegmentGenerator?>(nil)

  func load(_ load: SegmentLoad) {
    let start = self.position.wrappingAdd(load.count, ordering: .relaxed).oldValue
    self.generator.withLock { $0 }?.loaded(IDRange(start: start, count: load.count))
  }

  static func segment(step: Int64) throws(IDError) -> SegmentGenerator {
    let loader = InstantLoader()
    let generator = try SegmentGenerator(
      tag: .default, step: step, settings: SegmentSettings(outage: .zero), clock: SystemClock()
    ) { loader.load($0) }
    loader.generator.withLock { $0 = generator }
    generator.prefetch()
    return generator
  }
}

func snowflake(clock: any TimeSource) throws(IDError) -> SnowflakeGenerator {
  let layout = SnowflakeLayout.original
  let generator = try SnowflakeGenerator(
    layout: layout, worker: WorkerID(1, layout: layout), clock: clock, maxAhead: .seconds(1), sequenceJitter: 100,
    salt: 1)
  generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max)
  return generator
}

/// A number that threads share.
final class Counter: Sendable {
  let value = Atomic<Int64>(1)
}

/// Runs `body` so often on each of two threads at once.
func onTwoThreads(_ iterations: Range<Int>, _ body: @Sendable () -> Void) {
  DispatchQueue.concurrentPerform(iterations: 2) { _ in
    for _ in iterations { body() }
  }
}

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .throughput, .instructions], scalingFactor: .mega, maxDuration: .seconds(3))

  Benchmark("Segment next(), step 10000") { benchmark in
    let generator = try InstantLoader.segment(step: 10_000)
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.next()) }
  }

  Benchmark("Segment next(), step 1000000") { benchmark in
    let generator = try InstantLoader.segment(step: 1_000_000)
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.next()) }
  }

  // What an id costs at the least: the number alone, without a limit.
  Benchmark("Bare atomic add") { benchmark in
    let value = Atomic<Int64>(1)
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(value.wrappingAdd(1, ordering: .relaxed).oldValue) }
  }

  Benchmark("Segment next(), step 1000000, 2 threads, each as many") { benchmark in
    let generator = try InstantLoader.segment(step: 1_000_000)
    benchmark.startMeasurement()
    onTwoThreads(benchmark.scaledIterations) { blackHole(generator.next()) }
  }

  Benchmark("Bare atomic add, 2 threads, each as many") { benchmark in
    let counter = Counter()
    benchmark.startMeasurement()
    onTwoThreads(benchmark.scaledIterations) { blackHole(counter.value.wrappingAdd(1, ordering: .relaxed).oldValue) }
  }

  Benchmark("Segment take(1000)", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = try InstantLoader.segment(step: 1_000_000)
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.take(upTo: 1000)) }
  }

  Benchmark("Snowflake next(), stepping clock") { benchmark in
    let generator = try snowflake(clock: SteppingClock(looksPerTickShift: 11))
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.next()) }
  }

  // Its own limit: 4,096,000 a second. A call that has to wait for the next tick counts as a call.
  Benchmark("Snowflake next(), system clock, waits included") { benchmark in
    let generator = try snowflake(clock: SystemClock())
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.next()) }
  }

  Benchmark("Snowflake take(1000), stepping clock", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = try snowflake(clock: SteppingClock(looksPerTickShift: 1))
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(generator.take(upTo: 1000)) }
  }
}
