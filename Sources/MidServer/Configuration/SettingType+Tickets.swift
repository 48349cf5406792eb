import MidCore

extension SettingType where Value == [StoreLocation] {
  /// A list of MySQL URLs. Whatever is wrong with one, it is not shown: there may be a password in it.
  static func databases(atMost count: Int) -> SettingType {
    SettingType(
      allowed: "up to \(count) of mysql://USER@HOST[:PORT]/DATABASE, separated by commas or as a YAML list",
      redact: { $0.contains("@") || $0.contains("://") ? "<URLs>" : $0 },
      parse: { text in
        guard !text.isEmpty else { return [] }
        var locations: [StoreLocation] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
          guard let location = StoreLocation(part.trimmingSpaces()), case .mysql = location else { return nil }
          locations.append(location)
        }
        return locations.count <= count ? locations : nil
      })
  }
}

extension SettingType where Value == [Tag: TicketTable] {
  /// Pairs of a tag and its table.
  static func tables(atMost count: Int) -> SettingType {
    SettingType(
      allowed:
        "1 to \(count) of TAG=TABLE, separated by commas or as a YAML list; a table's name has letters, digits, _ "
        + "and $"
    ) { text in
      let tables = TagPairs.parse(text, atMost: count, mark: { $0.lastIndex(of: "=") }) { name -> TicketTable? in
        do { return try TicketTable(name) } catch { return nil }
      }
      // Two tags on one table are one space of ids, and no promise of either is broken; more likely it is a mistake.
      guard let tables, !tables.isEmpty, Set(tables.values).count == tables.count else { return nil }
      return tables
    }
  }
}
