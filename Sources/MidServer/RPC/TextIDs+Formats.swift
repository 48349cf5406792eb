import MidCore

extension TextMode {
  /// How many bits its ids have.
  var bits: Int { self == .objectid ? 96 : 128 }
}

/// The same ids in other digits than their canonical text has.
extension TextIDs {
  /// Ids of a kind, as many as `count` says, 1 to ``maximumBatch``, as texts of a format.
  ///
  /// - Throws: What the generators of ``MidCore`` throw, and ``MidCore/IDError/Code/invalidArgument`` for formats that only
  ///   tags have.
  func next(_ mode: TextMode, count: Int, _ format: IDFormat) throws(IDError) -> [String] {
    guard let form = try format.form(bits: mode.bits) else {
      throw IDError(.invalidArgument, "ids of mode \(mode) have no tag, and so no format \(format)")
    }
    var texts: [String] = []
    texts.reserveCapacity(count)
    // One by one: increasing all the same, and a batch is no more than that to its caller.
    for _ in 0..<count { texts.append(try form.text(of: try self.bits(mode), at: 0)) }
    return texts
  }

  private func bits(_ mode: TextMode) throws(IDError) -> UInt128 {
    switch mode {
    case .uuid1: try self.uuids.version1().bits
    case .uuid4: try self.uuids.version4().bits
    case .uuid6: try self.uuids.version6().bits
    case .uuid7: try self.uuids.version7().bits
    case .objectid: try self.objectIDs.next().bits
    case .ulid: try self.ulids.next().bits
    }
  }
}
