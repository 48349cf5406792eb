import MidCore
import Testing

@Suite("A Snowflake layout")
struct SnowflakeLayoutTests {
  @Test("puts every field of the default where its diagram says")
  func diagram() throws {
    let layout = SnowflakeLayout.original
    #expect(try layout.compose(SnowflakeFields(tick: 0, worker: 0, sequence: 1)) == 1)
    #expect(try layout.compose(SnowflakeFields(tick: 0, worker: 0, sequence: 4095)) == 0xFFF)
    #expect(try layout.compose(SnowflakeFields(tick: 0, worker: 1, sequence: 0)) == 1 << 12)
    #expect(try layout.compose(SnowflakeFields(tick: 0, worker: 1 << 5, sequence: 0)) == 1 << 17)
    #expect(try layout.compose(SnowflakeFields(tick: 1, worker: 0, sequence: 0)) == 1 << 22)
    let all = SnowflakeFields(tick: layout.maximumTick, worker: layout.maximumWorker, sequence: 4095)
    #expect(try layout.compose(all) == Int64.max)
    #expect(try layout.decompose(Int64.max) == all)
  }

  @Test("puts Sonyflake's machine into the lowest bits")
  func sonyflakeOrder() throws {
    let layout = SnowflakeLayout.sonyflake
    #expect(try layout.compose(SnowflakeFields(tick: 1, worker: 2, sequence: 3)) == 1 << 24 | 3 << 16 | 2)
    #expect(try layout.decompose(1 << 24 | 3 << 16 | 2) == SnowflakeFields(tick: 1, worker: 2, sequence: 3))
  }

  @Test("reads the id that Leaf documents as Leaf does")
  func leafVector() throws {
    // (1567733700834 - 1288834974657) * 2^22 + 39 * 2^12 + 3448, worked out by hand.
    let id: Int64 = 1_169_786_042_799_259_000
    let fields = try SnowflakeLayout.leaf.decompose(id)
    #expect(SnowflakeLayout.leaf.wallMilliseconds(ofTick: fields.tick) == 1_567_733_700_834)
    #expect(fields.worker == 39)
    #expect(fields.sequence == 3448)
    #expect(try SnowflakeLayout.leaf.compose(fields) == id)
  }

  @Test(
    "has presets of the widths, epochs and ends that their systems have",
    arguments: [
      ("original", 41, 10, 12, 1_609_459_200_000, "2090-09-07T15:47:35.552Z"),
      ("twitter", 41, 10, 12, 1_288_834_974_657, "2080-07-10T17:30:30.209Z"),
      ("leaf", 41, 10, 12, 1_288_834_974_657, "2080-07-10T17:30:30.209Z"),
      ("sonyflake", 39, 16, 8, 1_409_529_600_000, "2188-11-16T03:28:58.880Z"),
      ("javascript", 41, 4, 8, 1_609_459_200_000, "2090-09-07T15:47:35.552Z"),
    ])
  func presets(name: String, time: Int, worker: Int, sequence: Int, epoch: Int64, end: String) throws {
    let layout = try #require(SnowflakeLayout.presets[name])
    #expect(layout.timeBits == time)
    #expect(layout.workerBits == worker)
    #expect(layout.sequenceBits == sequence)
    #expect(layout.epochMilliseconds == epoch)
    #expect(layout.totalBits == (name == "javascript" ? 53 : 63))
    #expect(layout.endOfTimeDescription == end)
    // Every preset passes its own check.
    #expect(
      try SnowflakeLayout(
        timeBits: time, datacenterBits: layout.datacenterBits, machineBits: layout.machineBits, sequenceBits: sequence,
        epochMilliseconds: epoch, tickMilliseconds: layout.tickMilliseconds, order: layout.order) == layout)
  }

  @Test("names every reason at once where it can't be")
  func allReasons() {
    let error = #expect(throws: IDError.self) {
      try SnowflakeLayout(
        timeBits: 61, datacenterBits: -1, machineBits: 21, sequenceBits: 0, epochMilliseconds: -1,
        tickMilliseconds: 1001)
    }
    #expect(error?.code == .invalidArgument)
    for word in ["time", "datacenter", "machine", "sequence", "epoch", "tick"] {
      #expect(error?.message.contains(word) == true, "\(word)")
    }
  }

  @Test("takes the bounds themselves and nothing past them")
  func bounds() throws {
    func layout(_ time: Int, _ machine: Int, _ sequence: Int, epoch: Int64 = 0, tick: Int64 = 1) throws -> Int64 {
      try SnowflakeLayout(
        timeBits: time, datacenterBits: 0, machineBits: machine, sequenceBits: sequence, epochMilliseconds: epoch,
        tickMilliseconds: tick
      ).endOfTimeMilliseconds
    }
    #expect(try layout(20, 20, 22) == 1 << 20)
    #expect(try layout(60, 0, 3) == 1 << 60)
    #expect(throws: IDError.self) { try layout(60, 0, 4) }
    #expect(throws: IDError.self) { try layout(60, 0, 3, tick: 8) }
    #expect(try layout(60, 0, 3, tick: 7) == 7 << 60)
    #expect(throws: IDError.self) { try layout(60, 0, 3, epoch: .max, tick: 1) }
  }

  @Test("refuses fields and ids that do not fit")
  func refusals() throws {
    let layout = SnowflakeLayout.javascript
    #expect(throws: IDError.self) { try layout.decompose(-1) }
    #expect(throws: IDError.self) { try layout.decompose(1 << 53) }
    #expect(try layout.decompose((1 << 53) - 1).tick == layout.maximumTick)
    let error = #expect(throws: IDError.self) {
      try layout.compose(SnowflakeFields(tick: -1, worker: 16, sequence: 256))
    }
    for word in ["tick", "worker", "sequence"] { #expect(error?.message.contains(word) == true) }
  }

  @Test("checks a worker id in one number and in two")
  func workers() throws {
    let layout = SnowflakeLayout.original
    let worker = try WorkerID(datacenter: 3, machine: 7, layout: layout)
    #expect(worker.number == 3 * 32 + 7)
    #expect(try WorkerID(103, layout: layout) == worker)
    #expect(worker.description == "103 (datacenter 3, machine 7)")
    #expect(throws: IDError.self) { try WorkerID(1024, layout: layout) }
    #expect(throws: IDError.self) { try WorkerID(-1, layout: layout) }
    let error = #expect(throws: IDError.self) { try WorkerID(datacenter: 32, machine: -1, layout: layout) }
    #expect(error?.message == "the datacenter id is 0 to 31, not 32; the machine id is 0 to 31, not -1")
  }

  @Test(
    "shows times as people read them",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_609_459_200_000, "2021-01-01T00:00:00.000Z"), (1_567_733_700_834, "2019-09-06T01:35:00.834Z"),
      (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
      (253_402_300_800_000, "+10000-01-01T00:00:00.000Z"), (281_474_976_710_655, "+10889-08-02T05:31:50.655Z"),
    ])
  func times(milliseconds: Int64, text: String) {
    #expect(WallTime(milliseconds: milliseconds).description == text)
    #expect(WallTime(milliseconds: milliseconds).year == Int64(text.prefix { $0 != "-" }))
  }
}
