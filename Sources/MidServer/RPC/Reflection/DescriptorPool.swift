/// Files by name and by what they declare. They never change.
package struct DescriptorPool: Sendable {
  /// The files in `proto/`, from the generated descriptors.
  package static let generated: DescriptorPool = {
    let files = FileDescriptors.base64.map { text in
      do {
        guard let bytes = Base64.decode(text) else { preconditionFailure("a generated descriptor is not base64") }
        return try DescriptorFile(bytes)
      } catch {
        preconditionFailure("a generated descriptor is broken: \(error)")
      }
    }
    return DescriptorPool(files)
  }()

  /// The files by name.
  package let files: [String: DescriptorFile]
  private let fileOfSymbol: [String: String]

  /// Creates a pool. No two files may have one name or declare one name.
  package init(_ files: [DescriptorFile]) {
    self.files = Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0) })
    self.fileOfSymbol = Dictionary(
      uniqueKeysWithValues: files.flatMap { file in file.symbols.keys.map { ($0, file.name) } })
  }

  /// What a full name, without a leading dot, stands for; nil where no file declares it.
  package func kind(of symbol: String) -> DescriptorFile.Kind? {
    self.fileOfSymbol[symbol].flatMap { self.files[$0]?.symbols[symbol] }
  }

  /// The serialized file that declares `symbol`, then all that it imports; nil where none does.
  package func files(declaring symbol: String) -> [[UInt8]]? {
    self.fileOfSymbol[symbol].flatMap { self.files(named: $0) }
  }

  /// The serialized file of that name, then all that it imports, each once; nil where there is none.
  package func files(named name: String) -> [[UInt8]]? {
    guard self.files[name] != nil else { return nil }
    var names = [name]
    var next = 0
    while next < names.count {
      let imports = self.files[names[next]]?.imports ?? []
      names += imports.filter { !names.contains($0) }
      next += 1
    }
    return names.compactMap { self.files[$0]?.bytes }
  }
}
