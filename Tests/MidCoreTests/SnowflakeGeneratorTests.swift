import MidCore
import MidTestKit
import Testing

@Suite("A Snowflake generator")
struct SnowflakeGeneratorTests {
  static let start: Int64 = 1_700_000_000_000

  let clock = ManualClock(wallMilliseconds: Self.start)
  let layout = SnowflakeLayout.original

  func generator(
    layout: SnowflakeLayout = .original, worker: Int64 = 5, maxAhead: Duration = .seconds(1), jitter: Int = 0,
    salt: UInt64 = 1, granted: Bool = true
  ) throws -> SnowflakeGenerator {
    let generator = try SnowflakeGenerator(
      layout: layout, worker: WorkerID(worker, layout: layout), clock: self.clock, maxAhead: maxAhead,
      sequenceJitter: jitter, salt: salt)
    if granted { generator.grant(floorWallMilliseconds: 0, boundWallMilliseconds: .max) }
    return generator
  }

  func fields(_ id: Int64?) throws -> SnowflakeFields { try self.layout.decompose(try #require(id)) }

  @Test("gives ids of the clock's tick and its worker, one sequence after the other")
  func sequence() throws {
    let generator = try self.generator()
    for sequence in 0..<5 {
      let fields = try self.fields(generator.next().id)
      #expect(self.layout.wallMilliseconds(ofTick: fields.tick) == Self.start)
      #expect(fields.worker == 5)
      #expect(fields.sequence == Int64(sequence))
    }
    self.clock.advance(by: 3)
    let fields = try self.fields(generator.next().id)
    #expect(self.layout.wallMilliseconds(ofTick: fields.tick) == Self.start + 3)
    #expect(fields.sequence == 0)
  }

  @Test("waits for the next tick when the sequence is used up, and gives the full rate")
  func exhaustedTick() throws {
    let generator = try self.generator(jitter: 100)
    self.clock.advance(by: 1)
    var count = 0
    for tick in 0..<10 {
      while generator.next().id != nil { count += 1 }
      let wait = try #require(generator.next().wait)
      #expect(wait.reason == .nextTick)
      #expect(wait.untilWallMilliseconds == Self.start + 2 + Int64(tick))
      #expect(wait.duration == .milliseconds(1))
      #expect(generator.deadlineError(for: wait).code == .deadlineExceeded)
      self.clock.advance(by: 1)
    }
    // Only the first tick started at a random place.
    #expect(count > 10 * 4096 - 100)
    #expect(count <= 10 * 4096)
  }

  @Test("starts the sequence of a fresh tick within the jitter, spread, and at 0 where it is off")
  func jitter() throws {
    let generator = try self.generator(jitter: 100, salt: 42)
    var starts: Set<Int64> = []
    for _ in 0..<1000 {
      starts.insert(try self.fields(generator.next().id).sequence)
      self.clock.advance(by: 1)
    }
    #expect(starts.allSatisfy { (0..<100).contains($0) })
    #expect(starts.count > 90)
    #expect(starts.contains { $0 % 2 == 1 })
    let other = try self.generator(jitter: 100, salt: 43)
    let plain = try self.generator(jitter: 0)
    var differences = 0
    for _ in 0..<100 {
      self.clock.advance(by: 1)
      if generator.next().id != other.next().id { differences += 1 }
      #expect(try self.fields(plain.next().id).sequence == 0)
    }
    #expect(differences > 80)
  }

  @Test("keeps the jitter of a narrow sequence within a quarter of it")
  func narrowJitter() throws {
    let layout = SnowflakeLayout.javascript
    let generator = try self.generator(layout: layout, jitter: 100)
    for _ in 0..<500 {
      #expect(try layout.decompose(try #require(generator.next().id)).sequence < 64)
      self.clock.advance(by: 1)
    }
  }

  @Test("goes on by sequence when the clock steps back, into later ticks up to max ahead, then waits")
  func clockStepsBack() throws {
    let generator = try self.generator(maxAhead: .milliseconds(20))
    let first = try #require(generator.next().id)
    self.clock.stepWall(by: -10)
    var previous = first
    var count = 0
    while let id = generator.next().id {
      #expect(id == previous + 1 || id & 0xFFF == 0)
      #expect(id > previous)
      previous = id
      count += 1
    }
    // The rest of its tick and ten later ones: 20 ms past the clock.
    #expect(count == 4095 + 10 * 4096)
    let wait = try #require(generator.next().wait)
    #expect(wait.reason == .clock)
    #expect(wait.nowWallMilliseconds == Self.start - 10)
    #expect(wait.untilWallMilliseconds == Self.start - 9)
    let error = generator.deadlineError(for: wait)
    #expect(error.code == .clockBehind)
    #expect(error.message.contains("2023-11-14T22:13:19.990Z"))
    #expect(error.message.contains("2023-11-14T22:13:20.011Z"))
    self.clock.setWall(to: wait.untilWallMilliseconds)
    #expect(try #require(generator.next().id) > previous)
  }

  @Test("waits for a clock that stepped back further than it may run ahead")
  func longStepBack() throws {
    let generator = try self.generator()
    let first = try #require(generator.next().id)
    self.clock.stepWall(by: -3_600_000)
    let wait = try #require(generator.next().wait)
    #expect(wait.untilWallMilliseconds == Self.start - 1000)
    #expect(generator.take(upTo: 10).wait == wait)
    self.clock.setWall(to: Self.start - 1000)
    #expect(try #require(generator.next().id) > first)
  }

  @Test("takes a batch in one step, one range for each tick, and may run ahead with it")
  func batch() throws {
    let generator = try self.generator()
    let ranges = generator.take(upTo: 10_000).ranges
    #expect(ranges.map(\.count) == [4096, 4096, 1808])
    let ids = ranges.flatMap(\.ids)
    #expect(ids == ids.sorted())
    #expect(try ids.map { try self.layout.decompose($0).tick }.last == self.fields(ids.first).tick + 2)
    let following = try #require(generator.next().id)
    #expect(following == (ids.last ?? 0) + 1)
  }

  @Test("gives a batch fewer ids than asked for where the time ahead ends, and then a wait")
  func shortBatch() throws {
    let generator = try self.generator(maxAhead: .milliseconds(2))
    #expect(generator.take(upTo: 1_000_000).ranges.map(\.count) == [4096, 4096, 4096])
    #expect(generator.take(upTo: 1).wait?.reason == .clock)
    #expect(generator.next().wait?.untilWallMilliseconds == Self.start + 1)
  }

  @Test("strides over the machine bits where the layout's order says so")
  func strides() throws {
    let layout = SnowflakeLayout.sonyflake
    let generator = try self.generator(layout: layout, worker: 9, maxAhead: .zero)
    let ranges = generator.take(upTo: 300).ranges
    #expect(ranges.map(\.count) == [256])
    let ids = ranges.flatMap(\.ids)
    #expect(try ids.map { try layout.decompose($0).sequence } == Array(0..<256))
    #expect(try ids.allSatisfy { try layout.decompose($0).worker == 9 })
    // A tick of 10 ms.
    #expect(generator.next().wait?.untilWallMilliseconds == Self.start + 10)
    self.clock.advance(by: 9)
    #expect(generator.next().wait != nil)
    self.clock.advance(by: 1)
    #expect(generator.next().id != nil)
  }

  @Test("refuses counts outside 1 to 1,000,000 and names the limit", arguments: [0, -1, 1_000_001, .min, .max])
  func counts(count: Int64) throws {
    let error = try self.generator().take(upTo: count).error
    #expect(error?.code == .invalidArgument)
    #expect(error?.message.contains("1000000") == true)
  }

  @Test("fails before its epoch and past its end, and never gives a negative id")
  func ends() throws {
    let generator = try self.generator()
    self.clock.setWall(to: self.layout.epochMilliseconds - 1)
    #expect(generator.next().error?.code == .clockBehind)
    self.clock.setWall(to: self.layout.epochMilliseconds)
    #expect(generator.next().id == nil)
    self.clock.setWall(to: self.layout.endOfTimeMilliseconds - 1)
    let last = generator.take(upTo: 1_000_000).ranges
    #expect(last.map(\.count) == [4096])
    #expect(last.first?.last == Int64.max - Int64(31 - 5) * 4096 - 31 * 32 * 4096)
    #expect(generator.next().error?.code == .exhausted)
    #expect(generator.take(upTo: 1).error?.code == .exhausted)
    self.clock.setWall(to: self.layout.endOfTimeMilliseconds)
    #expect(generator.next().error?.code == .exhausted)
    self.clock.setWall(to: .max)
    #expect(generator.next().error?.code == .exhausted)
    self.clock.setWall(to: .min)
    #expect(generator.next().error?.code == .clockBehind)
  }

  @Test("never gives 0, also as worker 0 in the epoch's first tick")
  func noZero() throws {
    self.clock.setWall(to: self.layout.epochMilliseconds)
    let generator = try self.generator(worker: 0)
    #expect(generator.next().wait != nil)
    #expect(try #require(generator.take(upTo: 1).ranges.first).start > 0)
  }

  @Test("names every setting that is out of bounds")
  func settings() throws {
    let wide = try WorkerID(1023, layout: .original)
    let error = #expect(throws: IDError.self) {
      try SnowflakeGenerator(
        layout: .javascript, worker: wide, clock: self.clock, maxAhead: .seconds(61), sequenceJitter: 5000, salt: 0)
    }
    #expect(error?.code == .invalidArgument)
    for word in ["worker", "ahead", "jitter"] { #expect(error?.message.contains(word) == true) }
  }

  @Test("gives distinct ids, increasing for each of eight threads, while the clock moves and steps back")
  func threads() throws {
    let generator = try self.generator(jitter: 100)
    let recorders = Collected<UniquenessChecker.Recorder>()
    onThreads(8) { index in
      var recorder = UniquenessChecker.Recorder(caller: "thread \(index)")
      for round in 0..<20_000 {
        if index == 0, round % 16 == 0 { self.clock.advance(by: 1) }
        if index == 0, round % 4096 == 4095 { self.clock.stepWall(by: -50) }
        if round % 64 == index {
          for range in generator.take(upTo: 100).ranges { recorder.record(range) }
        } else if let id = generator.next().id {
          recorder.record(id)
        }
      }
      recorders.append(recorder)
    }
    #expect(recorders.all.reduce(0) { $0 + $1.ids.count } > 20_000)
    #expect(violations(of: recorders.all).isEmpty)
  }
}
