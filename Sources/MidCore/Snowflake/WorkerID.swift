/// The number that tells one node's Snowflake ids from another's, checked against a layout.
///
/// Two nodes that hold one number at a time issue the same ids; the store's worker rows find that out.
public struct WorkerID: Sendable, Hashable, CustomStringConvertible {
  /// Datacenter and machine as one number: `datacenter << machineBits | machine`.
  public let number: Int64
  /// The upper part of the number.
  public let datacenter: Int64
  /// The lower part of the number.
  public let machine: Int64

  /// Takes a worker number.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` where `number` is not 0 to `layout.maximumWorker`.
  public init(_ number: Int64, layout: SnowflakeLayout) throws(IDError) {
    guard (0...layout.maximumWorker).contains(number) else {
      throw IDError(.invalidArgument, "the worker id is 0 to \(layout.maximumWorker), not \(number)")
    }
    self.number = number
    self.datacenter = number >> Int64(layout.machineBits)
    self.machine = number & ((1 << Int64(layout.machineBits)) - 1)
  }

  /// Takes a worker id in its two parts.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` with every part that does not fit the layout.
  public init(datacenter: Int64, machine: Int64, layout: SnowflakeLayout) throws(IDError) {
    var reasons: [String] = []
    let parts = [("datacenter", datacenter, layout.datacenterBits), ("machine", machine, layout.machineBits)]
    for (name, value, bits) in parts {
      let maximum = (Int64(1) << Int64(bits)) - 1
      if value < 0 || value > maximum { reasons.append("the \(name) id is 0 to \(maximum), not \(value)") }
    }
    guard reasons.isEmpty else { throw IDError(.invalidArgument, reasons.joined(separator: "; ")) }
    self.number = datacenter << Int64(layout.machineBits) | machine
    self.datacenter = datacenter
    self.machine = machine
  }

  /// `7 (datacenter 0, machine 7)`.
  public var description: String { "\(self.number) (datacenter \(self.datacenter), machine \(self.machine))" }
}
