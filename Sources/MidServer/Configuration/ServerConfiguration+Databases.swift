package import MidCore

extension ServerConfiguration {
  /// Several databases of segments. At most one of ``stripes`` and ``shards`` is not empty.
  package struct Databases: Sendable, Equatable {
    /// `segment.stripes`, in order; empty for none.
    package var stripes: [StoreLocation]
    /// `segment.shards`; empty for none.
    package var shards: [ShardLocation]
    /// `segment.pins`, to names of ``shards``.
    package var pins: [Tag: String]
    /// `segment.database_timeout`.
    package var timeout: Duration

    /// Whether segments come from the store alone.
    package var isEmpty: Bool { self.stripes.isEmpty && self.shards.isEmpty }

    /// Where the databases are, with the names that logs and metrics call them by.
    package var named: [ShardLocation] {
      self.stripes.map { ShardLocation(name: Self.name(of: $0), location: $0) } + self.shards
    }

    /// A stripe's name: what tells it from the others, without a user's name.
    private static func name(of location: StoreLocation) -> String {
      let text = location.description
      return text.lastIndex(of: "@").map { String(text[text.index(after: $0)...]) } ?? text
    }

    /// Reads these settings alone, and those of the table, from flags and the environment.
    ///
    /// - Parameters:
    ///   - flags: What flags say, by setting key. They are not refused for the passwords that they might hold.
    ///   - environment: The process's environment, of which the other variables are not looked at.
    package static func load(
      flags: [String: String], environment: [String: String]
    ) throws(ConfigurationErrors) -> (databases: Self, table: Table) {
      var environment = environment.filter { name, _ in
        name.hasPrefix("MID_SEGMENT_TABLE_") || Self.variables.contains(name)
      }
      for (key, text) in flags {
        guard let setting = Settings.byKey[key] else { continue }
        environment[setting.environmentName] = text
      }
      // What a flag says wins over the environment also where it is the other of the two.
      if flags[Settings.segmentStripes.key] != nil { environment[Settings.segmentShards.environmentName] = nil }
      if flags[Settings.segmentShards.key] != nil { environment[Settings.segmentStripes.environmentName] = nil }
      if environment[Settings.segmentShards.environmentName] == nil {
        environment[Settings.segmentPins.environmentName] = nil
      }
      let configuration = try ServerConfiguration.load(environment: environment)
      return (configuration.databases, configuration.table)
    }

    private static let variables = [
      Settings.segmentStripes.environmentName, Settings.segmentShards.environmentName,
      Settings.segmentPins.environmentName,
    ]

    func conflicts(table: Table, _ add: (any SettingDescription, String) -> Void) {
      if !self.stripes.isEmpty, !self.shards.isEmpty {
        add(
          Settings.segmentShards,
          "tags are either striped over all databases or shared out; \(Settings.segmentStripes.key) is set too")
      }
      if !self.stripes.isEmpty, TableDialect(table.kind).residueColumns == nil, table.kind != .mid {
        add(
          Settings.segmentStripes,
          "tables of the dialect \(table.kind.rawValue) have no columns for delta and remainder: several databases can't share "
            + "a tag there; \(Settings.segmentShards.key) can")
      }
      if !self.pins.isEmpty, self.shards.isEmpty {
        add(Settings.segmentPins, "tags are pinned to databases of \(Settings.segmentShards.key), and there are none")
      } else {
        for (tag, name) in self.pins.sorted(by: { $0.key.name < $1.key.name })
        where !self.shards.contains(where: { $0.name == name }) {
          let names = self.shards.map(\.name).joined(separator: ", ")
          add(Settings.segmentPins, "tag \(tag) is pinned to '\(name)', and there are only: \(names)")
        }
      }
    }
  }

  /// The table of tags in the databases of segments: where stripes are set, mid's own is another one, with columns for
  /// them.
  package var segmentDialect: TableDialect { self.table.dialect(isStriped: !self.databases.stripes.isEmpty) }
}
