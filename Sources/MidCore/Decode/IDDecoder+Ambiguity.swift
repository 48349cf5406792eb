/// What can't be known of an id.
extension IDDecoder {
  /// Why the first of some readings may be the wrong one; nil where there is no doubt.
  func ambiguity(_ first: IDReading, _ readings: [IDReading]) -> String? {
    let doubts = [self.doubt(of: first, readings), Self.otherKinds(readings), Self.otherDigits(readings)]
      .compactMap { $0 }
    return doubts.isEmpty ? nil : doubts.joined(separator: "; ")
  }

  /// What the kind itself leaves open.
  private func doubt(of first: IDReading, _ readings: [IDReading]) -> String? {
    switch first.kind {
    case .snowflake, .number:
      if self.layout != nil && first.kind == .snowflake { return nil }
      let layouts = readings.filter { $0.kind == .snowflake && $0.note == nil && $0.base == first.base }
        .compactMap(\.layout)
      return switch layouts.count {
      case 0:
        first.kind == .snowflake ? "the layout is not in the id, and by none of the presets its time has been" : nil
      case 1 where self.presumed != nil: nil
      case 1: "the layout is not in the id: \(layouts[0]) is the one preset by which its time has been"
      default: "the layout is not in the id: by \(layouts.joined(separator: ", ")) its time has been"
      }
    case .objectid:
      return "whether the process is random, or machine and process id as before 2018, is not in the id"
    case .uuid where first.variant != .rfc9562 && first.note == nil:
      return "variants other than RFC 9562's say nothing that is known"
    case .uuid, .ulid: return nil
    }
  }

  private static func otherKinds(_ readings: [IDReading]) -> String? {
    let names = Self.distinct(
      readings.map { reading in
        switch reading.kind {
        case .snowflake, .number: "a number"
        case .uuid: "a UUID"
        case .ulid: "a ULID"
        case .objectid: "an ObjectId"
        }
      })
    return names.count > 1 ? "the kind is not in the id: it may be \(names.joined(separator: " or "))" : nil
  }

  private static func otherDigits(_ readings: [IDReading]) -> String? {
    let bases = Self.distinct(
      readings.map { reading in
        reading.base ?? (reading.kind == .ulid ? .crockford : .hex)
      })
    return bases.count > 1 ? "the digits may be of \(bases.map(\.rawValue).joined(separator: " or "))" : nil
  }

  private static func distinct<Element: Equatable>(_ elements: [Element]) -> [Element] {
    elements.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
