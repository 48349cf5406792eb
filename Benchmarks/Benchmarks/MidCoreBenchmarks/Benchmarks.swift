import Benchmark
import Dispatch
import Foundation
import MidCore
import MidOpaque
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
    ) { loader.load($1) }
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

/// Runs `body` so often in all, on eight threads at once, whatever the number of cores.
func onEightThreads(_ iterations: Range<Int>, _ body: @escaping @Sendable () -> Void) {
  let group = DispatchGroup()
  for _ in 0..<8 {
    group.enter()
    Thread.detachNewThread {
      for _ in 0..<iterations.count / 8 { body() }
      group.leave()
    }
  }
  group.wait()
}

func uuids(_ increment: UUID7Increment = .counter) -> UUIDGenerator {
  UUIDGenerator(increment: increment, clock: SystemClock(), random: RandomPool(SystemRandom()))
}

func ulids() -> ULIDGenerator { ULIDGenerator(clock: SystemClock(), random: RandomPool(SystemRandom())) }

func objectIDs() -> ObjectIDGenerator { ObjectIDGenerator(clock: SystemClock(), random: RandomPool(SystemRandom())) }

func opaqueIDs() throws(IDError) -> OpaqueIDs<AES> {
  try OpaqueIDs(
    tag: .default, bits: 63, slotBits: 0, keys: [0: AES(key: [UInt8](repeating: 7, count: 32))], currentSlot: 0)
}

/// What a closure that can't throw makes of a call that does not.
func made<Value>(_ body: () throws(IDError) -> Value) -> Value {
  do throws(IDError) { return try body() } catch { fatalError("\(error)") }
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

  Benchmark("UUID version7()", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = uuids()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(made { () throws(IDError) in try generator.version7() }) }
  }

  // More threads than cores, and for long enough that the system puts one aside while it is at work.
  Benchmark("UUID version7(), 8 threads, all together so many") { benchmark in
    let generator = uuids()
    benchmark.startMeasurement()
    onEightThreads(benchmark.scaledIterations) {
      blackHole(made { () throws(IDError) in try generator.version7() })
    }
  }

  Benchmark("UUID version7().description", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = uuids()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations {
      blackHole(made { () throws(IDError) in try generator.version7() }.description)
    }
  }

  Benchmark("UUID version1()", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = uuids()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(made { () throws(IDError) in try generator.version1() }) }
  }

  Benchmark("ULID next()", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = ulids()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(made { () throws(IDError) in try generator.next() }) }
  }

  Benchmark("ObjectId next()", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let generator = objectIDs()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { blackHole(made { () throws(IDError) in try generator.next() }) }
  }

  Benchmark("Opaque seal()", configuration: .init(scalingFactor: .kilo)) { benchmark in
    let ids = try opaqueIDs()
    benchmark.startMeasurement()
    for id in benchmark.scaledIterations { blackHole(made { () throws(IDError) in try ids.seal(Int64(id) + 1) }) }
  }

  Benchmark("Opaque seal(), 8 threads, all together so many", configuration: .init(scalingFactor: .mega)) { benchmark in
    let ids = try opaqueIDs()
    let next = Counter()
    benchmark.startMeasurement()
    onEightThreads(benchmark.scaledIterations) {
      let id = next.value.wrappingAdd(1, ordering: .relaxed).oldValue
      blackHole(made { () throws(IDError) in try ids.seal(id) })
    }
  }
}
