// SPDX-License-Identifier: Apache-2.0

package dev.classrec.example;

import com.google.protobuf.Duration;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.classrec.v1.ClassBeginEvent;
import dev.classrec.v1.GetRecordingRequest;
import dev.classrec.v1.ListRecordingsRequest;
import dev.classrec.v1.RecordingFormat;
import dev.classrec.v1.RecordingServiceGrpc;
import dev.classrec.v1.StartRecordingRequest;
import dev.classrec.v1.StopRecordingRequest;
import dev.classrec.v1.WatchClassBeginRequest;
import dev.classrec.v1.WatchClassBeginResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * Records a class, and watches it begin and end:
 *
 * <pre>mvn -q compile exec:java -Dexec.args="localhost:9090 42"</pre>
 */
public final class Main {
  public static void main(String[] args) throws Exception {
    String server = args[0];
    String room = args[1];
    var channel = Grpc.newChannelBuilder(server, InsecureChannelCredentials.create()).build();
    var watch = Context.current().withCancellation();
    try {
      var stub = RecordingServiceGrpc.newBlockingStub(channel);
      Iterator<WatchClassBeginResponse> stream =
          watch.call(() -> stub.watchClassBegin(WatchClassBeginRequest.newBuilder().setRoom(room).build()));
      while (!stream.next().hasSynced()) {}
      System.out.println("watching");

      var recording = stub.withDeadlineAfter(30, TimeUnit.SECONDS)
          .startRecording(StartRecordingRequest.newBuilder()
              .setRoom(room)
              .setRequestId(UUID.randomUUID().toString()) // the same id starts the same recording
              .setFormat(RecordingFormat.RECORDING_FORMAT_WEBM)
              .setMaxDuration(Duration.newBuilder().setSeconds(3600))
              .build())
          .getRecording();
      System.out.println("started " + recording.getName() + " " + recording.getState());
      show(nextEvent(stream));

      refused("start again", () -> stub.startRecording(StartRecordingRequest.newBuilder().setRoom(room).build()));
      refused("start for -1 s", () -> stub.startRecording(StartRecordingRequest.newBuilder()
          .setRoom(room).setMaxDuration(Duration.newBuilder().setSeconds(-1)).build()));
      // Where --max-recordings does not forbid it, it is over by itself.
      refused("start in another room", () -> stub.startRecording(StartRecordingRequest.newBuilder()
          .setRoom(room + "-2").setMaxDuration(Duration.newBuilder().setSeconds(1)).build()));

      var stopped = stub.withDeadlineAfter(30, TimeUnit.SECONDS)
          .stopRecording(StopRecordingRequest.newBuilder().setName(recording.getName()).build())
          .getRecording();
      System.out.println("stopped " + stopped.getName() + " " + stopped.getEndReason());
      show(nextEvent(stream));
      watch.cancel(null);

      for (var one : stub.listRecordings(ListRecordingsRequest.newBuilder().setRoom(room).build())
          .getRecordingsList()) {
        System.out.println("listed " + one.getName());
      }
      refused("get", () -> stub.getRecording(
          GetRecordingRequest.newBuilder().setName("rooms/" + room + "/recordings/1").build()));
    } finally {
      watch.cancel(null);
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** The next class event of a watch, without what else it says. */
  private static ClassBeginEvent nextEvent(Iterator<WatchClassBeginResponse> stream) {
    while (true) {
      var message = stream.next();
      if (message.hasEvent()) {
        return message.getEvent();
      }
    }
  }

  private static void show(ClassBeginEvent event) {
    System.out.println("event " + event.getAction().name().replace("CLASS_BEGIN_ACTION_", "")
        + " " + event.getRecording().getName());
  }

  /** Prints what an error says: its code, its reason, what it names, and when to try again. */
  private static void refused(String what, Runnable call) throws InvalidProtocolBufferException {
    try {
      call.run();
      System.out.println(what + ": OK");
    } catch (StatusRuntimeException e) {
      List<String> words = new ArrayList<>(List.of(what + ":", e.getStatus().getCode().name()));
      for (var detail : StatusProto.fromThrowable(e).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          var info = detail.unpack(ErrorInfo.class);
          words.add(info.getReason());
          new TreeMap<>(info.getMetadataMap()).forEach((k, v) -> words.add(k + "=" + v));
        } else if (detail.is(BadRequest.class)) {
          for (var violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            words.add("field=" + violation.getField());
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          var seconds = BigDecimal.valueOf(delay.getSeconds()).add(BigDecimal.valueOf(delay.getNanos(), 9));
          words.add("retry=" + seconds.stripTrailingZeros().toPlainString() + "s");
        }
      }
      System.out.println(String.join(" ", words));
    }
  }

  private Main() {}
}
