/// What kind of id a text is read as.
public enum IDKind: String, Sendable, Hashable, CaseIterable {
  /// A number of 63 bits that holds a time, a worker and a sequence, by a ``SnowflakeLayout``.
  case snowflake
  /// A number that holds nothing but its place: a segment's, a ticket's, a row's.
  case number
  /// RFC 9562: ``UUIDValue``.
  case uuid
  /// ``ULID``.
  case ulid
  /// MongoDB's: ``ObjectID``.
  case objectid
}
