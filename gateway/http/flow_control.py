"""What is read of a client's connection, and when."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios

from uvicorn.protocols.http.flow_control import FlowControl


class ReadFlowControl(FlowControl):
    """uvicorn's, but for reading from a client that does not read: what it says meanwhile would be answered, too."""

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again, or is gone."""
        super().resume_writing()
        if not self.read_paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def resume_reading(self) -> None:
        """Nothing of ours is in the way of reading."""
        if not self.write_paused:
            super().resume_reading()
        else:
            self.read_paused = False


def unread_bytes(transport: asyncio.Transport) -> int:
    """What the kernel has received and we have not."""
    fd = transport.get_extra_info("socket").fileno()
    found = fcntl.ioctl(fd, termios.FIONREAD, bytes(struct.calcsize("i")))
    return int(struct.unpack("i", found)[0])
