import ArgumentParser
import MidCore
import MidServer

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What `mid decode` has to be told of texts that don't say themselves what they are.
struct DecodeFormOptions: ParsableArguments {
  @Option(help: "Whose id it is. Needs --form, --key or both.")
  var tag: String?

  @Option(help: "The tag's form, as in text.forms.")
  var form: String?

  @Option(
    help: ArgumentHelp("A key of opaque ids, as in opaque.keys; may be repeated.", valueName: "slot=file:path"))
  var key: [String] = []

  @Option(help: ArgumentHelp("How many bits the tag's opaque ids have, as in opaque.tags: 63 or 53. Default: 63."))
  var bits: Int?

  @Option(help: ArgumentHelp("opaque.slot_bits of the server. Default: 4."))
  var slotBits: Int?

  func validate() throws {
    guard self.tag != nil else {
      if self.form != nil || !self.key.isEmpty || self.bits != nil || self.slotBits != nil {
        throw ValidationError("--form, --key, --bits and --slot-bits say how to read an id of a tag: add --tag NAME.")
      }
      return
    }
    if self.form == nil, self.key.isEmpty {
      throw ValidationError("--tag needs --form, how its ids look as texts, or --key, the key of its opaque ids.")
    }
    if self.key.isEmpty, self.bits != nil || self.slotBits != nil {
      throw ValidationError("--bits and --slot-bits are of opaque ids: add --key SLOT=file:PATH.")
    }
    _ = try self.settings
  }

  /// What the text stands for, or nil where no tag is given.
  ///
  /// - Parameter isNumber: whether the text is known to be an opaque number.
  /// - Throws: ``CommandFailure`` for keys that can't be read, ``MidCore/IDError`` for a text that is none.
  func open(_ text: String, isNumber: Bool) throws -> TagForms.Opened? {
    guard let tag = self.tag, let settings = try self.settings else { return nil }
    let forms: TagForms
    do throws(ConfigurationErrors) {
      forms = try settings.make(environment: ProcessInfo.processInfo.environment)
    } catch {
      throw CommandFailure(error.errors.map(\.message).joined(separator: "; "))
    }
    return try forms.open(text, tag: try Tag(tag), isNumber: isNumber)
  }

  /// The same as a server's settings, read by the same rules.
  private var settings: ServerConfiguration.Forms? {
    get throws {
      guard let name = self.tag else { return nil }
      let tag = try Self.read("--tag") { () throws(IDError) in try Tag(name) }
      var flags: [String: String] = [:]
      if !self.key.isEmpty {
        flags["opaque.keys"] = self.key.joined(separator: ",")
        // Every slot is read; no number is made.
        flags["opaque.current"] = self.key.first.map { String($0.prefix { $0 != "=" }) }
      }
      if let slotBits = self.slotBits { flags["opaque.slot_bits"] = String(slotBits) }
      var forms: ServerConfiguration.Forms
      do throws(ConfigurationErrors) { forms = try ServerConfiguration.load(flags: flags).forms } catch {
        let options = ["opaque.keys": "--key", "opaque.current": "--key", "opaque.slot_bits": "--slot-bits"]
        let lines = error.errors.map { "\($0.key.flatMap { options[$0] } ?? ""): \($0.message)" }
        throw ValidationError(TerminalText.plain(lines.joined(separator: "; ")) + ".")
      }
      // One tag, which may have the characters that part a setting's tags.
      if !self.key.isEmpty { forms.opaqueTags = [tag: try self.opaqueBits] }
      if let form = self.form {
        let template = try Self.read("--form") { () throws(IDError) in try TextTemplate(form) }
        if template.isOpaque, self.key.isEmpty {
          throw ValidationError("--form: its number is opaque: add --key SLOT=file:PATH.")
        }
        forms.templates = [tag: template]
      }
      return forms
    }
  }

  private var opaqueBits: Int {
    get throws {
      let bits = self.bits ?? 63
      guard bits == 63 || bits == 53 else { throw ValidationError("--bits: takes 63 or 53, not \(bits).") }
      return bits
    }
  }

  /// What an option's text stands for; a text that is none is a wrong command line.
  private static func read<Value>(_ option: String, _ make: () throws(IDError) -> Value) throws -> Value {
    do throws(IDError) { return try make() } catch {
      throw ValidationError(TerminalText.plain("\(option): \(error.message)") + ".")
    }
  }
}
