package import MidCore

extension ServerConfiguration {
  /// The table of tags: whose it is, and the names that differ from that dialect's own.
  package struct Table: Sendable, Equatable {
    /// `segment.table.dialect`.
    package var kind: TableDialect.Kind
    /// `segment.table.name`, or nil for the dialect's own; so are all below.
    package var name: String?
    /// `segment.table.tag_column`.
    package var tagColumn: String?
    /// `segment.table.max_column`.
    package var maxColumn: String?
    /// `segment.table.step_column`.
    package var stepColumn: String?
    /// `segment.table.updated_column`.
    package var updatedColumn: String?
    /// `segment.table.version_column`.
    package var versionColumn: String?
    /// `segment.table.begin_column`.
    package var beginColumn: String?
    /// `segment.table.delta_column`.
    package var deltaColumn: String?
    /// `segment.table.remainder_column`.
    package var remainderColumn: String?

    /// What a store is to be told. Valid in a configuration that was loaded.
    package var dialect: TableDialect { self.dialect(isStriped: false) }

    /// The same; mid's own table is that of stripes where they are set.
    package func dialect(isStriped: Bool) -> TableDialect {
      var dialect = TableDialect(self.kind(isStriped: isStriped))
      if let name = self.name { dialect.table = name }
      if let column = self.tagColumn { dialect.tagColumn = column }
      if let column = self.maxColumn { dialect.maxColumn = column }
      if let column = self.stepColumn { dialect.stepColumn = column }
      if let column = self.updatedColumn { dialect.updatedColumn = column }
      if let column = self.versionColumn { dialect.versionColumn = column }
      if let column = self.beginColumn { dialect.beginColumn = column }
      if let column = self.deltaColumn { dialect.residueColumns?.delta = column }
      if let column = self.remainderColumn { dialect.residueColumns?.remainder = column }
      return dialect
    }

    private func kind(isStriped: Bool) -> TableDialect.Kind { isStriped && self.kind == .mid ? .stripe : self.kind }

    /// Tells of columns that tables of the dialect don't have, and of one that is named twice.
    func conflicts(isStriped: Bool = false, _ add: (any SettingDescription, String) -> Void) {
      let own = TableDialect(self.kind(isStriped: isStriped))
      let special: [(any SettingDescription, isGiven: Bool, exists: Bool)] = [
        (Settings.tableVersionColumn, self.versionColumn != nil, own.versionColumn != nil),
        (Settings.tableBeginColumn, self.beginColumn != nil, own.beginColumn != nil),
        (Settings.tableDeltaColumn, self.deltaColumn != nil, own.residueColumns != nil),
        (Settings.tableRemainderColumn, self.remainderColumn != nil, own.residueColumns != nil),
      ]
      let misplaced = special.filter { $0.isGiven && !$0.exists }
      for (setting, _, _) in misplaced {
        add(setting, "a table of the dialect \(self.kind.rawValue) has no such column; it is for tinyid")
      }
      guard misplaced.isEmpty else { return }
      do throws(IDError) { try self.dialect(isStriped: isStriped).validate() } catch {
        add(Settings.tableDialect, error.message)
      }
    }

    /// Reads the settings of the table alone, from a flag and the environment.
    ///
    /// - Parameters:
    ///   - kind: What a flag says of the dialect, or nil.
    ///   - environment: The process's environment, of which the other variables are not looked at.
    package static func load(
      kind: String?, environment: [String: String]
    ) throws(ConfigurationErrors) -> Self {
      let prefix = "MID_SEGMENT_TABLE_"
      return try ServerConfiguration.load(
        flags: kind.map { [Settings.tableDialect.key: $0] } ?? [:],
        environment: environment.filter { $0.key.hasPrefix(prefix) }
      ).table
    }
  }
}
