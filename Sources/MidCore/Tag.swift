/// The name of one business's own space of ids (`biz_tag` in the tables). It is its bytes: names that differ only in how
/// Unicode composes their letters are two, as they are to a table and to what seals opaque ids.
public struct Tag: Sendable, Hashable, CustomStringConvertible {
  /// The tag used where a caller names none.
  public static let `default` = Tag(unchecked: "default")

  /// The longest name, in UTF-8 bytes. A store may allow less and says so.
  public static let maximumLength = 128

  /// The name itself: 1 to 128 bytes of UTF-8 without control characters, without white space at its ends.
  public let name: String

  private init(unchecked name: String) { self.name = name }

  /// Checks and takes a name.
  ///
  /// - Throws: ``IDError/Code/invalidArgument`` when the name is empty, longer than ``maximumLength``, holds a control
  ///   character, or begins or ends with white space (MySQL compares trailing spaces away, so `a` and `a ` would be one row).
  public init(_ name: String) throws(IDError) {
    guard !name.isEmpty, name.utf8.count <= Self.maximumLength else {
      throw IDError(
        .invalidArgument, "a tag has 1 to \(Self.maximumLength) bytes of UTF-8, this one has \(name.utf8.count)")
    }
    guard !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
      throw IDError(.invalidArgument, "a tag must not hold control characters")
    }
    guard name.first?.isWhitespace == false, name.last?.isWhitespace == false else {
      throw IDError(.invalidArgument, "a tag must not begin or end with white space")
    }
    self.name = name
  }

  /// The name.
  public var description: String { self.name }

  /// Whether both have the same bytes.
  public static func == (first: Tag, second: Tag) -> Bool { first.name.utf8.elementsEqual(second.name.utf8) }

  /// Hashes the bytes.
  public func hash(into hasher: inout Hasher) {
    let isHashed: Void? = self.name.utf8.withContiguousStorageIfAvailable { hasher.combine(bytes: .init($0)) }
    if isHashed == nil { for byte in self.name.utf8 { hasher.combine(byte) } }
    hasher.combine(0xFF as UInt8)  // No byte of UTF-8: the end.
  }
}
