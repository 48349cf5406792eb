/// How a Snowflake id's 63 bits are divided, and what its time counts.
///
/// ```
///  63 62                                  22 21     17 16    12 11          0
/// ┌──┬──────────────────────────────────────┬─────────┬────────┬─────────────┐
/// │ 0│ ticks since the epoch             41 │ datac. 5│ mach. 5│ sequence 12 │   ``original``
/// └──┴──────────────────────────────────────┴─────────┴────────┴─────────────┘
/// ```
/// Bit 63 is the sign and always 0. Datacenter and machine together are the worker number. With
/// ``FieldOrder/timeSequenceWorker`` the sequence stands left of the worker, as Sonyflake has it.
///
/// A layout whose widths add up to less than 63 keeps its ids small; ``javascript`` stays within 53 bits.
/// Guarantee: composed ids are never negative, and two ids are equal only if tick, worker and sequence are.
/// Source: Twitter's Snowflake (2010); Meituan's Leaf; Sony's Sonyflake for the other order.
public struct SnowflakeLayout: Sendable, Hashable {
  /// Which field stands where, from the most significant bit on.
  public enum FieldOrder: String, Sendable, Hashable, CaseIterable {
    /// Time, worker, sequence: Twitter's, Leaf's and the default.
    case timeWorkerSequence
    /// Time, sequence, worker: Sonyflake's. The ids of one tick lie 2^worker bits apart.
    case timeSequenceWorker
  }

  /// Width of the time field in bits, 20 to 60.
  public let timeBits: Int
  /// Width of the datacenter field in bits, 0 to 20.
  public let datacenterBits: Int
  /// Width of the machine field in bits, 0 to 20.
  public let machineBits: Int
  /// Width of the sequence field in bits, 1 to 22.
  public let sequenceBits: Int
  /// Tick 0, in milliseconds since 1970-01-01T00:00:00Z; 0 or more. Changing it under existing ids repeats them.
  public let epochMilliseconds: Int64
  /// The length of a tick in milliseconds, 1 to 1000.
  public let tickMilliseconds: Int64
  /// Which field stands where.
  public let order: FieldOrder

  /// Checks and takes a layout.
  ///
  /// - Parameters:
  ///   - timeBits: 20 to 60.
  ///   - datacenterBits: 0 to 20.
  ///   - machineBits: 0 to 20.
  ///   - sequenceBits: 1 to 22. All four together are at most 63.
  ///   - epochMilliseconds: Tick 0, since the Unix epoch; not negative.
  ///   - tickMilliseconds: 1 to 1000. The end of time has to fit in an `Int64` of milliseconds.
  ///   - order: Which field stands where.
  /// - Throws: ``IDError/Code/invalidArgument`` with every reason at once.
  public init(
    timeBits: Int, datacenterBits: Int, machineBits: Int, sequenceBits: Int, epochMilliseconds: Int64,
    tickMilliseconds: Int64 = 1, order: FieldOrder = .timeWorkerSequence
  ) throws(IDError) {
    var reasons: [String] = []
    let widths = [
      ("time", timeBits, 20...60), ("datacenter", datacenterBits, 0...20), ("machine", machineBits, 0...20),
      ("sequence", sequenceBits, 1...22),
    ]
    for (name, width, allowed) in widths where !allowed.contains(width) {
      reasons.append("\(name) takes \(allowed.lowerBound) to \(allowed.upperBound) bits, not \(width)")
    }
    if reasons.isEmpty {
      let sum = timeBits + datacenterBits + machineBits + sequenceBits
      if sum > 63 { reasons.append("the fields take at most 63 bits together, not \(sum)") }
    }
    if epochMilliseconds < 0 {
      reasons.append("the epoch is 1970-01-01T00:00:00Z or later, not \(epochMilliseconds) ms")
    }
    if !(1...1000).contains(tickMilliseconds) {
      reasons.append("a tick is 1 to 1000 milliseconds long, not \(tickMilliseconds)")
    }
    if reasons.isEmpty {
      let (length, tooLong) = (Int64(1) << Int64(timeBits)).multipliedReportingOverflow(by: tickMilliseconds)
      if tooLong || epochMilliseconds.addingReportingOverflow(length).overflow {
        reasons.append("the end of time has to fit in 63 bits of milliseconds: shorten time, tick or epoch")
      }
    }
    guard reasons.isEmpty else {
      throw IDError(.invalidArgument, "snowflake layout: " + reasons.joined(separator: "; "))
    }
    self.init(
      checkedTime: timeBits, datacenter: datacenterBits, machine: machineBits, sequence: sequenceBits,
      epoch: epochMilliseconds, tick: tickMilliseconds, order: order)
  }

  /// Takes widths that are known to be right: the presets'.
  init(
    checkedTime timeBits: Int, datacenter: Int, machine: Int, sequence: Int, epoch: Int64, tick: Int64 = 1,
    order: FieldOrder = .timeWorkerSequence
  ) {
    self.timeBits = timeBits
    self.datacenterBits = datacenter
    self.machineBits = machine
    self.sequenceBits = sequence
    self.epochMilliseconds = epoch
    self.tickMilliseconds = tick
    self.order = order
  }

  /// Width of datacenter and machine together: the worker number's, 0 to 40.
  public var workerBits: Int { self.datacenterBits + self.machineBits }
  /// Width of the whole id in bits, at most 63.
  public var totalBits: Int { self.timeBits + self.workerBits + self.sequenceBits }
  /// The largest worker number.
  public var maximumWorker: Int64 { (1 << Int64(self.workerBits)) - 1 }
  /// The largest tick that an id can hold.
  public var maximumTick: Int64 { (1 << Int64(self.timeBits)) - 1 }
  /// How many ids one worker can give out in one tick.
  public var sequencesPerTick: Int64 { 1 << Int64(self.sequenceBits) }

  /// The first millisecond since the Unix epoch whose ids would no longer fit: from then on the generator fails with
  /// ``IDError/Code/exhausted``. The default layout ends in 2090.
  public var endOfTimeMilliseconds: Int64 {
    self.epochMilliseconds + (self.maximumTick + 1) * self.tickMilliseconds
  }

  /// The end of time as people read it, in UTC: `2090-09-07T15:47:35.552Z`.
  public var endOfTimeDescription: String { WallTime(milliseconds: self.endOfTimeMilliseconds).description }
}
