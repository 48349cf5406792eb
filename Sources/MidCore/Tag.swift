/// The name of one business's own space of ids (`biz_tag` in the tables).
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
}
