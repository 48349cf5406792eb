import MidCore

/// One of several databases that tags are shared out over, and its name.
package struct ShardLocation: Sendable, Equatable {
  /// The name that tags are placed by.
  package var name: String
  /// Where the database is.
  package var location: StoreLocation

  /// Names a database.
  package init(name: String, location: StoreLocation) {
    self.name = name
    self.location = location
  }
}

extension SettingType where Value == [StoreLocation] {
  /// A list of stores, none or as many as `count` allows, no two alike. It is not shown: there may be a password in it.
  static func stripes(_ count: ClosedRange<Int>) -> SettingType {
    SettingType(
      allowed:
        "\(count.lowerBound) to \(count.upperBound) of mysql://USER@HOST[:PORT]/DATABASE or sqlite:PATH, separated by commas "
        + "or as a YAML list, no two alike",
      redact: { $0.contains("@") || $0.contains("://") ? "<URLs>" : $0 },
      parse: { text in
        guard !text.isEmpty else { return [] }
        var locations: [StoreLocation] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
          guard let location = StoreLocation(part.trimmingSpaces()) else { return nil }
          locations.append(location)
        }
        let isDistinct = Set(locations.map(\.description)).count == locations.count
        return count.contains(locations.count) && isDistinct ? locations : nil
      })
  }
}

extension SettingType where Value == [ShardLocation] {
  /// Named stores, no two of them or of their names alike.
  static func shards(atMost count: Int) -> SettingType {
    SettingType(
      allowed:
        "1 to \(count) of NAME=URL, separated by commas or as a YAML list, a URL being mysql://USER@HOST[:PORT]/DATABASE or "
        + "sqlite:PATH; a name has 1 to 64 letters, digits, _, - or $",
      redact: { $0.contains("@") || $0.contains("://") ? "<URLs>" : $0 },
      parse: { text in
        guard !text.isEmpty else { return [] }
        var shards: [ShardLocation] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
          let pair = part.trimmingSpaces()
          guard let mark = pair.firstIndex(of: "="), TableDialect.isName(String(pair[..<mark])),
            let location = StoreLocation(String(pair[pair.index(after: mark)...]))
          else { return nil }
          shards.append(ShardLocation(name: String(pair[..<mark]), location: location))
        }
        let isDistinct =
          Set(shards.map(\.name)).count == shards.count
          && Set(shards.map(\.location.description)).count == shards.count
        return shards.count <= count && isDistinct ? shards : nil
      })
  }
}

extension SettingType where Value == [Tag: String] {
  /// Pairs of a tag and the name of a shard.
  static func pins(atMost count: Int) -> SettingType {
    SettingType(
      allowed: "up to \(count) of TAG=NAME, separated by commas or as a YAML list, a NAME being one of segment.shards"
    ) { text in
      TagPairs.parse(text, atMost: count, mark: { $0.lastIndex(of: "=") }) { TableDialect.isName($0) ? $0 : nil }
    }
  }
}
