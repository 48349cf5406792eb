import MidServer

/// Judges the keys of opaque ids.
struct FormsCheck {
  static let name = "opaque ids"

  /// What the settings say.
  var settings: ServerConfiguration.Forms
  /// The process's environment, where keys may be.
  var environment: [String: String]

  /// The data folder.
  var folder: String

  /// Nothing where there are no keys, else one finding at least.
  var findings: [Finding] {
    guard !self.settings.keys.isEmpty else { return [] }
    do throws(ConfigurationErrors) {
      var memory = try OpaqueMemory(readingFile: OpaqueMemory.path(inFolder: self.folder))
      _ = try self.settings.make(environment: self.environment, remembering: &memory)
    } catch {
      return error.errors.map { .fail(Self.name, $0.description, "mid serve does not start before that is mended") }
    }
    let open = self.settings.keys.filter(\.value.isOpenToOthers).sorted { $0.key < $1.key }
    guard open.isEmpty else {
      return open.map {
        .warn(Self.name, "others may read the key of slot \($0.key), \($0.value)", "chmod 600, and think of a new key")
      }
    }
    let tags = self.settings.opaqueTags.count
    let slots = self.settings.keys.keys.sorted().map(String.init).joined(separator: ", ")
    return [
      .ok(
        Self.name,
        "\(tags) \(tags == 1 ? "tag has" : "tags have") opaque numbers, with the keys of slots \(slots); "
          + "\(self.settings.currentSlot ?? 0) makes new ones")
    ]
  }
}
