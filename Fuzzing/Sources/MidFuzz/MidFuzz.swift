import CLibFuzzer
import Glibc

/// libFuzzer's own program for one target, which the environment's `FUZZ_TARGET` names: libFuzzer starts itself anew for
/// some of its work and hands its arguments on, but knows nothing of ours.
@main
enum MidFuzz {
  private static let target = getenv("FUZZ_TARGET").flatMap { FuzzTarget(rawValue: String(cString: $0)) }

  static func main() {
    guard Self.target != nil else {
      let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
      Self.say("mid-fuzz: FUZZ_TARGET has to be one of \(names)")
      exit(2)
    }
    var count = CommandLine.argc
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
    exit(LLVMFuzzerRunDriver(&count, &arguments, Self.tryInput))
  }

  /// What libFuzzer calls with each input. Anything found ends the process, which is how libFuzzer learns of it.
  private static let tryInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32 = { data, size in
    do throws(Finding) {
      try Self.target?.run(UnsafeRawBufferPointer(start: data, count: size))
    } catch {
      Self.say("FINDING: \(error)")
      abort()
    }
    return 0
  }

  private static func say(_ text: String) {
    var line = text + "\n"
    _ = line.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
