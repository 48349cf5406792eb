package import MidCore
package import MidOpaque
import MidRPC

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Where a key of opaque ids stands: it is never in a setting itself.
package enum OpaqueKeyReference: Sendable, Hashable, CustomStringConvertible {
  /// A file whose first line is the key.
  case file(String)
  /// An environment variable.
  case environment(String)

  /// Reads `file:PATH` or `env:NAME`. Returns nil for anything else. Names that begin with `MID_` are settings.
  package init?(_ text: String) {
    if text.hasPrefix("file:") {
      let path = String(text.dropFirst(5))
      guard !path.isEmpty, !path.utf8.contains(0) else { return nil }
      self = .file(path)
    } else if text.hasPrefix("env:") {
      let name = String(text.dropFirst(4))
      guard !name.isEmpty, !name.hasPrefix("MID_"), name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x3D })
      else { return nil }
      self = .environment(name)
    } else {
      return nil
    }
  }

  /// As it is written in the setting, unless the key itself stands there by mistake.
  package var description: String {
    switch self {
    case .file(let path): "file:\(path.hidingKeys)"
    case .environment(let name): "env:\(name.hidingKeys)"
    }
  }

  /// The longest file that is read, in bytes; a key has 64 characters at most.
  private static let maximumSize = 256

  /// The key, as a cipher.
  ///
  /// - Parameter environment: the process's environment.
  /// - Throws: ``MidCore/IDError/Code/invalidArgument``, saying what is wrong, and nothing of what was read.
  package func cipher(environment: [String: String]) throws(IDError) -> AES {
    var digits: [UInt8]
    switch self {
    case .environment(let name):
      guard let value = environment[name] else {
        throw IDError(.invalidArgument, "there is no environment variable \(name.hidingKeys)")
      }
      digits = Array(value.utf8)
    case .file(let path):
      do throws(PEMFile.Failure) { digits = try PEMFile.read(path, atMost: Self.maximumSize) } catch {
        throw IDError(.invalidArgument, "\(path.hidingKeys): \(error)")
      }
    }
    while let last = digits.last, [0x0A, 0x0D, 0x20].contains(last) { digits.removeLast() }
    guard [32, 48, 64].contains(digits.count), let key = Self.bytes(digits) else {
      throw IDError(
        .invalidArgument,
        "\(self) holds no key of 16, 24 or 32 bytes in hexadecimal digits, which `openssl rand -hex 32` makes")
    }
    return try AES(key: key)
  }

  /// Whether others than this program's user may read the file.
  package var isOpenToOthers: Bool {
    guard case .file(let path) = self else { return false }
    do {
      let permissions = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions]
      return (permissions as? Int).map { $0 & 0o077 != 0 } ?? false
    } catch {
      return false
    }
  }

  private static func bytes(_ digits: [UInt8]) -> [UInt8]? {
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = ASCII.hexDigit(digits[index]), let low = ASCII.hexDigit(digits[index + 1]) else { return nil }
      bytes.append(high << 4 | low)
    }
    return bytes
  }
}
