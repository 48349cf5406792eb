import MidCore
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

  /// What the store has said of its facts; nil where it was not asked, which other checks tell of.
  var facts: Result<[String: String], IDError>?

  /// Nothing where there are no keys, else one finding at least.
  var findings: [Finding] {
    guard !self.settings.keys.isEmpty else { return [] }
    var memory: OpaqueMemory
    do throws(ConfigurationErrors) {
      memory = try OpaqueMemory(readingFile: OpaqueMemory.path(inFolder: self.folder))
      _ = try self.settings.make(environment: self.environment, remembering: &memory)
    } catch {
      return error.errors.map { .fail(Self.name, $0.description, "mid serve does not start before that is mended") }
    }
    let agreement = OpaqueAgreement(remembered: memory, wanted: memory, currentSlot: 0, store: "")
    let shared = self.compare(agreement)
    guard shared.isEmpty else { return shared }
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
          + "\(self.settings.currentSlot ?? 0) makes new ones\(self.state(of: agreement))")
    ]
  }

  /// What the store has otherwise, or why it does not say.
  private func compare(_ agreement: OpaqueAgreement) -> [Finding] {
    switch self.facts {
    case .success(let found):
      agreement.changes(against: found).map {
        .fail(Self.name, "\($0.setting.key): \($0.message)", "mid serve does not start before that is mended")
      }
    case .failure(let error) where error.code != .storeUnavailable:
      [.fail(Self.name, error.message, "mid serve does not start before that is mended")]
    case .failure, nil: []
    }
  }

  private func state(of agreement: OpaqueAgreement) -> String {
    guard case .success(let found) = self.facts else {
      return "; the store was not asked whether all nodes have the same"
    }
    return agreement.facts.keys.allSatisfy { found[$0] != nil }
      ? "; the store has the same" : "; the store does not have all of that, and is told at the next start"
  }
}
