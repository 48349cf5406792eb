/// A client's right to the ids of one tag, as Tinyid's table `tiny_id_token` has it. It is a secret: it prints as none.
public struct ClientToken: Sendable, Hashable, CustomStringConvertible, CustomReflectable {
  /// The tag's name, `biz_type`, as it stands in the table.
  public let tag: String
  /// The secret.
  public let secret: String

  /// Creates a token.
  public init(tag: String, secret: String) {
    self.tag = tag
    self.secret = secret
  }

  /// The tag alone.
  public var description: String { "token of \(self.tag)" }

  /// Nothing.
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where the tokens of Tinyid's clients come from.
public protocol TokenStore: Sendable {
  /// All tokens of the table `tiny_id_token`, in no particular order; rows without a token or a tag are left out.
  ///
  /// - Throws: ``IDError/Code/storeRejected`` where there is no such table or no right to read it,
  ///   ``IDError/Code/storeUnavailable``.
  func clientTokens() async throws(IDError) -> [ClientToken]
}
