package import MidCore

/// What is known of an id, as lines for people and as JSON.
package struct DecodeReport {
  private let decoded: DecodedID
  private let opened: TagForms.Opened?

  /// Prepares the report.
  ///
  /// - Parameter opened: what the text of a tag stood for, whose id was decoded; nil where there was no tag.
  package init(_ decoded: DecodedID, opened: TagForms.Opened? = nil) {
    self.decoded = decoded
    self.opened = opened
  }

  /// When the day or month in a tag's text begins.
  package static func date(_ opened: TagForms.Opened?) -> String? {
    opened?.startMilliseconds.map { WallTime(milliseconds: $0).description }
  }

  /// When an id was made, as RFC 3339 has it: nil also for years of five digits, which are no years there.
  package static func time(_ reading: IDReading) -> String? {
    guard let time = reading.time, WallTime(milliseconds: time.milliseconds).year <= 9999 else { return nil }
    return time.description
  }

  /// Why the first reading may be the wrong one, or nil where there is no doubt.
  package static func ambiguity(_ decoded: DecodedID, _ opened: TagForms.Opened?) -> String? {
    let doubts = [opened?.ambiguity, decoded.ambiguity].compactMap { $0 }
    return doubts.isEmpty ? nil : doubts.joined(separator: "; ")
  }

  /// The first reading in full, the others in a line each, and what is not known.
  package var lines: [String] {
    var lines: [String] = []
    if let opened = self.opened {
      lines.append("id: \(opened.id)")
      if let slot = opened.slot { lines.append("key slot: \(slot)") }
      if let date = Self.date(opened) { lines.append("date: \(date)") }
      lines.append("")
    }
    guard let first = self.decoded.readings.first else { return [] }
    let members = Self.members(of: first, time: first.time?.description)
    let width = members.map(\.name.count).max() ?? 0
    for (name, value, _) in members {
      lines.append("\(name):" + String(repeating: " ", count: width - name.count + 1) + value)
    }
    if let ambiguity = Self.ambiguity(self.decoded, self.opened) { lines += ["", "Not certain: \(ambiguity)."] }
    for reading in self.decoded.readings.dropFirst() {
      // By other digits it is another number.
      let parts = Self.members(of: reading, time: reading.time?.description).dropFirst()
        .filter { $0.name != "canonical" || reading.canonical != first.canonical }
      lines.append("  or \(reading.kind): " + parts.map { "\($0.name) \($0.value)" }.joined(separator: ", "))
    }
    return lines
  }

  /// An object on one line.
  package var json: String {
    let readings = self.decoded.readings.map { reading in
      "{"
        + Self.members(of: reading, time: Self.time(reading)).map { member in
          "\"\(member.name)\": " + (member.isSmallNumber ? member.value : JSONText.string(member.value))
        }.joined(separator: ", ") + "}"
    }
    var members = ""
    if let opened = self.opened {
      members = "\"id\": \"\(opened.id)\", "
      if let slot = opened.slot { members += "\"slot\": \(slot), " }
      if let date = Self.date(opened) { members += "\"date\": \(JSONText.string(date)), " }
    }
    return "{\(members)\"readings\": [" + readings.joined(separator: ", ") + "], \"ambiguity\": "
      + JSONText.string(Self.ambiguity(self.decoded, self.opened)) + "}"
  }

  /// What a reading has, by the names that JSON and people get.
  ///
  /// - Parameter time: how the time is written, nil for not at all.
  private static func members(
    of reading: IDReading, time: String?
  ) -> [(name: String, value: String, isSmallNumber: Bool)] {
    var members: [(name: String, value: String, isSmallNumber: Bool)] = [
      ("kind", reading.kind.rawValue, false), ("canonical", reading.canonical, false),
    ]
    func add(_ name: String, _ value: String?, isSmallNumber: Bool = false) {
      if let value { members.append((name, value, isSmallNumber)) }
    }
    add("digits", reading.base?.rawValue)
    add("layout", reading.layout)
    add("variant", reading.variant?.rawValue)
    add("version", reading.version.map(String.init), isSmallNumber: true)
    add("time", time)
    add("unix_ms", reading.time.map { String($0.milliseconds) })
    if let worker = reading.worker {
      add("worker", String(worker.number), isSmallNumber: true)
      add("datacenter", String(worker.datacenter), isSmallNumber: true)
      add("machine", String(worker.machine), isSmallNumber: true)
    }
    add(reading.kind == .objectid ? "counter" : "sequence", reading.sequence.map(String.init), isSmallNumber: true)
    add(reading.kind == .objectid ? "process" : "node", reading.maker)
    add("note", reading.note)
    return members
  }
}
