package import MidCore

/// A kind of ids that are made of a name: the same name within a namespace gives the same id, everywhere and always.
package enum NameMode: String, Sendable, Hashable, CaseIterable {
  /// RFC 9562, version 3: by MD5.
  case uuid3
  /// RFC 9562, version 5: by SHA-1.
  case uuid5

  /// Namespaces by name, as error messages name them.
  package static let namespaces =
    UUIDValue.namespaces.keys.sorted().joined(separator: ", ") + " or a UUID"

  /// The ids of some names, in their canonical texts or in a format.
  ///
  /// - Parameters:
  ///   - namespace: the name of one of RFC 9562's, or a UUID's text.
  ///   - names: none of them empty.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument`` for a namespace that is none, for no name and an empty one, and for
  ///   formats that only tags have.
  package func texts(of names: [String], in namespace: String, _ format: IDFormat?) throws(IDError) -> [String] {
    guard let namespace = UUIDValue.namespaces[namespace] ?? UUIDValue(namespace) else {
      let shown = String(namespace.unicodeScalars.prefix(RequestFields.maximumModeTextLength))
      throw IDError(.invalidArgument, "namespace is '\(shown)'; allowed: \(Self.namespaces)")
    }
    guard !names.isEmpty, !names.contains("") else {
      throw IDError(.invalidArgument, "ids of mode \(self) are made of a name, which is missing")
    }
    let form = try format.map { format throws(IDError) in try Self.form(format, self) }
    var texts: [String] = []
    texts.reserveCapacity(names.count)
    for name in names {
      let id: UUIDValue =
        switch self {
        case .uuid3: .version3(namespace: namespace, name: name)
        case .uuid5: .version5(namespace: namespace, name: name)
        }
      texts.append(try form?.text(of: id.bits, at: 0) ?? id.description)
    }
    return texts
  }

  private static func form(_ format: IDFormat, _ mode: Self) throws(IDError) -> TextForm {
    guard let form = try format.form(bits: 128) else {
      throw IDError(.invalidArgument, "ids of mode \(mode) have no tag, and so no format \(format)")
    }
    return form
  }
}
