/// What a Snowflake id says.
public struct SnowflakeFields: Sendable, Hashable {
  /// Ticks since the layout's epoch.
  public var tick: Int64
  /// The worker number: datacenter and machine together.
  public var worker: Int64
  /// The place within the tick.
  public var sequence: Int64

  /// Creates a set of fields.
  public init(tick: Int64, worker: Int64, sequence: Int64) {
    self.tick = tick
    self.worker = worker
    self.sequence = sequence
  }
}

extension SnowflakeLayout {
  /// The id that holds `fields`.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` with every field that does not fit.
  public func compose(_ fields: SnowflakeFields) throws(IDError) -> Int64 {
    var reasons: [String] = []
    let limits = [
      ("tick", fields.tick, self.maximumTick), ("worker", fields.worker, self.maximumWorker),
      ("sequence", fields.sequence, self.sequencesPerTick - 1),
    ]
    for (name, value, maximum) in limits where value < 0 || value > maximum {
      reasons.append("\(name) is 0 to \(maximum), not \(value)")
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, "snowflake id: " + reasons.joined(separator: "; ")) }
    return self.id(tick: fields.tick, worker: fields.worker, sequence: fields.sequence)
  }

  /// What `id` holds, read by this layout.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where the id is negative or wider than the layout.
  public func decompose(_ id: Int64) throws(IDError) -> SnowflakeFields {
    guard id >= 0, self.totalBits == 63 || id >> Int64(self.totalBits) == 0 else {
      throw IDError(.invalidArgument, "\(id) is no snowflake id of this layout: it has \(self.totalBits) bits")
    }
    return self.fields(ofBits: id)
  }

  /// What `id` holds by this layout's shifts and masks, whatever it is: the tick of a negative one is negative, and that of
  /// one that is wider than the layout is past ``maximumTick``.
  package func fields(ofBits id: Int64) -> SnowflakeFields {
    let low = Int64(self.workerBits + self.sequenceBits)
    let worker: Int64
    let sequence: Int64
    switch self.order {
    case .timeWorkerSequence:
      worker = (id >> Int64(self.sequenceBits)) & self.maximumWorker
      sequence = id & (self.sequencesPerTick - 1)
    case .timeSequenceWorker:
      worker = id & self.maximumWorker
      sequence = (id >> Int64(self.workerBits)) & (self.sequencesPerTick - 1)
    }
    return SnowflakeFields(tick: id >> low, worker: worker, sequence: sequence)
  }

  /// The first millisecond of `tick` since the Unix epoch. `tick` has to lie within the layout, or one past it.
  public func wallMilliseconds(ofTick tick: Int64) -> Int64 {
    self.epochMilliseconds + tick * self.tickMilliseconds
  }

  /// The distance between neighbouring ids of one tick.
  var idStride: Int64 { self.order == .timeWorkerSequence ? 1 : 1 << Int64(self.workerBits) }

  /// The id of fields that are known to fit.
  func id(tick: Int64, worker: Int64, sequence: Int64) -> Int64 {
    let time = tick << Int64(self.workerBits + self.sequenceBits)
    switch self.order {
    case .timeWorkerSequence: return time | worker << Int64(self.sequenceBits) | sequence
    case .timeSequenceWorker: return time | sequence << Int64(self.workerBits) | worker
    }
  }
}
